"""All boards, and where their files lie."""

from pathlib import Path

from observability.boards.model import Board

from observability.boards import booking, data, load, overview, red, slo
from telemed.slo.catalogue import load_slos

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "charts" / "telemed-observability" / "dashboards"


def boards() -> tuple[Board, ...]:
    """Give every board, the entry first."""
    return (
        overview.BOARD,
        slo.board(load_slos(ROOT / "observability" / "slo")),
        red.BOARD,
        data.BOARD,
        booking.BOARD,
        load.BOARD,
    )
