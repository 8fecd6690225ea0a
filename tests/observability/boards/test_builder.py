"""Boards as they are committed: up to date, laid out, and leading somewhere."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from observability.boards.catalogue import FOLDER, ROOT, boards
from observability.boards.grafana import SCHEMA_VERSION, board_text
from observability.boards.layout import arrange
from observability.boards.links import RUNBOOKS, runbook
from observability.boards.model import COLUMNS, Board, Panel, Row, Target, Unit

from observability.boards import __main__ as command

RED, *_ = (board for board in boards() if board.name == "red")


def each_board() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)


def panels(board: Board) -> list[Panel]:
    return list(itertools.chain.from_iterable(row.panels for row in board.rows))


def committed(board: Board) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{board.name}.json").read_text())
    return found


def test_there_is_a_board_for_every_question() -> None:
    """Alerts link to them by these uids."""
    wanted = {"overview", "slo", "red", "data", "booking", "load"}
    assert {board.uid for board in boards()} == {f"telemed-{name}" for name in wanted}


@each_board()
def test_what_is_committed_is_what_the_builder_gives(board: Board) -> None:
    """Whoever edits the JSON by hand loses it at the next build."""
    assert (FOLDER / f"{board.name}.json").read_text() == board_text(board), "run: make dashboards"


def test_no_file_is_left_of_a_board_that_is_gone() -> None:
    """The chart installs whatever lies there."""
    assert {file.stem for file in FOLDER.glob("*.json")} == {board.name for board in boards()}


def test_check_tells_what_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And build mends it: what was changed is written, what nobody made is removed."""
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert command.build(check=False) == 0
    (tmp_path / "red.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert command.build(check=True) == 1
    told = capsys.readouterr().err
    assert "red.json" in told
    assert "old.json" in told
    assert "slo.json" not in told
    assert command.build(check=False) == 0
    assert command.build(check=True) == 0
    assert not (tmp_path / "old.json").exists()


@each_board()
def test_every_panel_says_what_it_shows_and_leads_on(board: Board) -> None:
    """A unit, a whole sentence, named series, and a link to a page that exists."""
    uids = {other.uid for other in boards()}
    for panel in panels(board):
        assert panel.description.endswith("."), panel.title
        assert panel.unit in Unit
        assert all(target.legend for target in panel.targets), panel.title
        url = panel.link.url
        if url.startswith(RUNBOOKS):
            assert (ROOT / "observability" / "runbooks" / url.removeprefix(RUNBOOKS)).exists(), url
        else:
            uid = url.removeprefix("/d/").partition("?")[0]
            assert uid in uids - {board.uid}, f"{panel.title} leads to {url}"


@each_board()
def test_names_are_given_once_in_a_row(board: Board) -> None:
    """Two panels of one name side by side would have to be told apart by their lines."""
    for row in board.rows:
        titles = [panel.title for panel in row.panels]
        assert len(titles) == len(set(titles))


@each_board()
def test_panels_fill_their_lines(board: Board) -> None:
    """Nothing overlaps or sticks out, and no line has a hole at its end."""
    taken: dict[int, set[int]] = {}
    for _, place in arrange(board):
        for y in range(place.y, place.y + place.h):
            columns = set(range(place.x, place.x + place.w))
            assert not columns & taken.get(y, set())
            taken[y] = taken.get(y, set()) | columns
    assert all(columns == set(range(COLUMNS)) for columns in taken.values())


def test_a_full_line_begins_the_next() -> None:
    """Below the tallest panel of the line before."""
    wide, tall = (
        Panel("p", "d.", Unit.COUNT, (Target("up", "l"),), runbook("x"), width=12, height=height) for height in (4, 9)
    )
    places = [
        place for _, place in arrange(Board("b", "B", "d", (Row("one", (wide, tall, wide)), Row("two", (wide,)))))
    ]
    assert [(place.x, place.y) for place in places] == [(0, 0), (0, 1), (12, 1), (0, 10), (0, 14), (0, 15)]


@each_board()
def test_grafana_gets_its_newest_classic_model(board: Board) -> None:
    """With the reader's data source, pages shown as they fired, and links that keep time and namespace."""
    document = committed(board)
    assert document["schemaVersion"] == SCHEMA_VERSION
    assert [variable["name"] for variable in document["templating"]["list"]][:2] == ["datasource", "namespace"]
    assert "ALERTS" in document["annotations"]["list"][0]["expr"]
    for link in document["links"]:
        assert link["keepTime"]
        assert link["includeVars"]


def test_exemplars_lead_from_durations_to_traces() -> None:
    """Every line of durations of requests shows them."""
    for panel in panels(RED):
        for target in panel.targets:
            if "request_duration_seconds_bucket" in target.query and panel.kind.value == "timeseries":
                assert target.exemplars, panel.title
