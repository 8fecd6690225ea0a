"""Where each panel lies: rows fill 24 columns from the left, and a full line begins the next."""

from collections.abc import Iterator
from dataclasses import dataclass

from observability.boards.model import COLUMNS, Board, Panel, Row

HEADING_HEIGHT = 1


@dataclass(frozen=True)
class Place:
    """A rectangle in Grafana's grid."""

    x: int
    y: int
    w: int
    h: int


def arrange(board: Board) -> Iterator[tuple[Row | Panel, Place]]:
    """Give each heading and each panel its place, from top to bottom."""
    y = 0
    for row in board.rows:
        yield row, Place(0, y, COLUMNS, HEADING_HEIGHT)
        y += HEADING_HEIGHT
        x = line_height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            yield panel, Place(x, y, panel.width, panel.height)
            x, line_height = x + panel.width, max(line_height, panel.height)
        y += line_height
