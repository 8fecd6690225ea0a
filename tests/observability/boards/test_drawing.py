"""Boards as pictures, drawn from a real Prometheus."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from observability.boards.__main__ import main
from observability.boards.catalogue import FOLDER, boards
from observability.boards.drawing.frame import Span, filled
from observability.boards.drawing.lines import merged
from observability.boards.drawing.page import WIDTH, draw_board, firing_pages
from observability.boards.drawing.prometheus import Prometheus, Unreachable
from observability.boards.drawing.spec import read_page
from PIL import Image
from tests.observability.boards.history import NAMESPACE, PAGED, STEP_SECONDS
from tests.observability.boards.server import remembering

MINUTES = 40
LARGEST_BYTES = 400_000  # what a README may be burdened with


@pytest.fixture(scope="module")
def until() -> datetime:
    return datetime.fromtimestamp(int(time.time()) // STEP_SECONDS * STEP_SECONDS, UTC)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, until: datetime) -> Iterator[str]:
    """A Prometheus that remembers; made once, as it takes seconds."""
    with remembering(tmp_path_factory.mktemp("prometheus"), end=until.timestamp(), minutes=MINUTES) as where:
        yield where


@pytest.fixture
def prometheus(address: str, until: datetime) -> Prometheus:
    return Prometheus.at(address, minutes=MINUTES, until=until)


@pytest.mark.parametrize("name", [board.name for board in boards()])
def test_a_board_is_drawn_with_data_in_every_panel(prometheus: Prometheus, tmp_path: Path, name: str) -> None:
    """Each of its queries finds something on a platform that has everything; the file is small enough for a README."""
    picture = tmp_path / f"{name}.png"
    assert draw_board(FOLDER / f"{name}.json", prometheus, picture, theme="dark", given={}) == []
    assert picture.stat().st_size < LARGEST_BYTES
    with Image.open(picture) as image:
        assert image.width == WIDTH
        assert len(image.getcolors(100_000) or ()) > 20, "something is painted"


def test_a_panel_without_data_says_so(prometheus: Prometheus, tmp_path: Path) -> None:
    """Of each kind: a metric that nobody shows is named, and only those panels."""
    board = json.loads((FOLDER / "red.json").read_text())
    broken = {"Requests by service", "Where the answers lie", "Versions", "Routes"}
    for panel in board["panels"]:
        for target in panel.get("targets", []) if panel["title"] in broken else ():
            target["expr"] = 'telemed_no_such_thing{namespace=~"$namespace"}'
    path = tmp_path / "board.json"
    path.write_text(json.dumps(board))
    assert set(draw_board(path, prometheus, tmp_path / "board.png", theme="dark", given={})) == broken


def test_a_number_without_data_says_so(prometheus: Prometheus, tmp_path: Path) -> None:
    """Of another namespace there is nothing; the panels of who looks from outside have no namespace to choose."""
    empty = draw_board(
        FOLDER / "booking.json", prometheus, tmp_path / "b.png", theme="light", given={"namespace": "no"}
    )
    assert "Bookings" in empty
    assert "Last journey" not in empty


def test_the_same_data_is_the_same_picture(prometheus: Prometheus, tmp_path: Path) -> None:
    """So that a changed picture is a changed platform."""
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]
    for picture in pictures:
        draw_board(FOLDER / "overview.json", prometheus, picture, theme="dark", given={})
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_the_command_draws_what_it_is_asked_for(
    address: str, until: datetime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says where the pictures are."""
    where = [
        "--prometheus",
        address,
        "--minutes",
        "20",
        "--until",
        until.isoformat(),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(["draw", "overview", "load", "--theme", "light", "--namespace", NAMESPACE, *where]) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"overview.png", "load.png"}
    assert str(tmp_path / "out" / "load.png") in capsys.readouterr().out


def test_the_command_says_that_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, with the address, and an exit code that stops a Makefile."""
    assert main(["draw", "--prometheus", "http://127.0.0.1:9", "--output", str(tmp_path)]) == 1
    assert "no Prometheus answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_query_that_prometheus_refuses_is_told(prometheus: Prometheus) -> None:
    """With the query and its reason, not as a panel without data."""
    with pytest.raises(Unreachable, match="rate\\(up\\)"):
        prometheus.over("rate(up)")


def test_gaps_stay_gaps(prometheus: Prometheus) -> None:
    """A series that is not there at some instants has no number there."""
    middle = prometheus.times[len(prometheus.times) // 2]
    (series, *_) = prometheus.over(f'up{{job="telemed-auth"}} and on () (vector(time()) > {middle})')
    assert series.values[-1] == 1
    assert series.values[0] != series.values[0], "NaN"


def test_pages_are_shown_for_as_long_as_they_fired(prometheus: Prometheus) -> None:
    """By the board's own annotation, for its namespace only."""
    query = read_page(FOLDER / "red.json").pages_query
    (span,) = firing_pages(prometheus, filled(query, {"namespace": NAMESPACE}))
    assert span.name == PAGED
    assert prometheus.times[0] < span.begins < span.ends < prometheus.times[-1]
    assert firing_pages(prometheus, filled(query, {"namespace": "another"})) == ()


def test_two_pages_at_once_are_one_shade() -> None:
    """Or what is behind them could not be seen any more."""
    spans = [Span("b", 20, 40), Span("a", 0, 10), Span("c", 30, 35), Span("d", 38, 50)]
    assert merged(spans) == [(0, 10), (20, 50)]
