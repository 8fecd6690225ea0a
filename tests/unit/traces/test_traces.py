"""`telemed trace`: what is read, how it is put together, and what is drawn."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from telemed.cli import app
from telemed.kernel.settings import SettingsProblem
from telemed.traces.command import find
from telemed.traces.drawing import Style, summary_of, table, waterfall
from telemed.traces.reading import SpanLine, by_trace, parsed, read_spans
from telemed.traces.tree import branches

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TRACE = "a" * 32
ASCII = Style(width=96, is_unicode=False)


def span(name: str, span_id: str, parent_id: str | None, *, at: float, ms: float, **more: Any) -> SpanLine:
    """A span of the trace that begins at noon; *at* in milliseconds after it."""
    fields = {"service": "all", "failed": False, "attributes": {}, **more}
    began = NOON + timedelta(milliseconds=at)
    return SpanLine(TRACE, span_id, parent_id, name, started_at=began, seconds=ms / 1000, **fields)


BOOKING = [
    span("POST /booking/slots/book", "1", None, at=0, ms=10, attributes={"telemed.request_id": "r-1"}),
    span("transaction", "2", "1", at=1, ms=8),
    span("COMMIT", "3", "2", at=7, ms=2, failed=True, attributes={"error.type": "40001", "db.query.text": "COMMIT"}),
    span("process appointment.booked", "4", "1", at=510, ms=5, service="worker"),
]


def line(**changes: Any) -> str:
    """A line as the processes write it."""
    whole = {
        "name": "GET /a",
        "context": {"trace_id": f"0x{TRACE}", "span_id": "0x01"},
        "parent_id": None,
        "start_time": "2026-11-26T12:00:00.000000Z",
        "end_time": "2026-11-26T12:00:00.250000Z",
        "status": {"status_code": "UNSET"},
        "attributes": {"http.route": "/a"},
        "resource": {"attributes": {"service.name": "telemed-all"}},
    }
    return json.dumps(whole | changes)


def test_a_line_is_read_as_it_is_written() -> None:
    """Ids without their prefix, the service without ours."""
    read = parsed(line(parent_id="0x02"))
    assert read is not None
    assert (read.trace_id, read.span_id, read.parent_id, read.service, read.seconds) == (TRACE, "01", "02", "all", 0.25)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "\x00", "[" * 100_000, line()[:-20]),
        *(line(context={}), line(start_time="noon"), line(start_time="2026-11-26T12:00:00")),
    ],
)
def test_what_is_no_span_is_none(text: str) -> None:
    """Half a line that is just being written, or somebody else's."""
    assert parsed(text) is None


def test_files_of_all_processes_are_read_and_broken_lines_counted(tmp_path: Path) -> None:
    """One is no reason to show nothing."""
    (tmp_path / "telemed-all.jsonl").write_text(f"{line()}\n{line()[:40]}")
    (tmp_path / "telemed-worker.older.jsonl").write_bytes(b"\xff\xfe\n" + line().encode())
    found = read_spans(tmp_path)
    assert (len(found.all), found.broken) == (2, 2)


def test_what_is_no_file_is_counted_as_well(tmp_path: Path) -> None:
    """A file that takes its turn just now is gone, and no reason to show nothing."""
    (tmp_path / "telemed-all.jsonl").write_text(line())
    (tmp_path / "telemed-gone.jsonl").symlink_to(tmp_path / "nowhere")
    found = read_spans(tmp_path)
    assert (len(found.all), found.broken) == (1, 1)


def test_names_give_no_orders_to_a_terminal() -> None:
    """Whoever can write into the folder could otherwise clear the screen, or retitle it."""
    read = parsed(line(name="GET /\x1b[2J\nä"))
    assert read is not None
    assert read.name == "GET /?[2J?ä"


def test_the_waterfall_shows_who_is_below_whom_and_when() -> None:
    """With what the worker did later in the same scale: half a second of nothing is cut out."""
    assert waterfall(BOOKING, ASCII).splitlines() == [
        f"trace {TRACE}  2026-11-26 12:00:00 UTC  4 spans",
        "POST /booking/slots/book     |#####################..........|     0.0 ms    10.0 ms  all",
        "  transaction                |..#################............|     1.0 ms     8.0 ms  all",
        "    COMMIT                   |..............####.............|     7.0 ms     2.0 ms  all  40001",
        "  process appointment.booked |....................##########.|   510.0 ms     5.0 ms  worker",
        "(500.0 ms after 10.0 ms cut out: nothing happened)",
    ]


def test_statements_and_colours_are_shown_when_wanted() -> None:
    """A failure is red on a terminal; the text of a statement is asked for."""
    drawn = waterfall(BOOKING, Style(width=96, has_colour=True), verbose=True)
    assert "\x1b[31m    COMMIT" in drawn
    assert drawn.count("COMMIT") == 2


@pytest.mark.parametrize("width", [1, 20, 80, 400])
def test_it_fits_terminals_of_any_width(width: int) -> None:
    """However narrow: the bars shrink, and nothing breaks."""
    assert len(waterfall(BOOKING, Style(width=width)).splitlines()) == 6


def test_spans_without_a_parent_are_roots_and_circles_end() -> None:
    """A parent that was not written, and two that name each other."""
    lost = span("lost", "7", "gone", at=1, ms=1)
    circle = [span("a", "8", "9", at=2, ms=1), span("b", "9", "8", at=3, ms=1)]
    found = [(one.span.name, one.depth) for one in branches([BOOKING[0], lost, *circle])]
    assert found == [("POST /booking/slots/book", 0), ("lost", 0), ("a", 0), ("b", 1)]


def test_a_chain_of_any_length_is_shown() -> None:
    """A file may hold one that is deeper than a program may call itself."""
    chain = [span("a", str(place), str(place - 1), at=place, ms=1) for place in range(5000)]
    assert [one.depth for one in branches(chain)] == list(range(5000))


def test_the_list_says_in_words_what_failed() -> None:
    """Colours are on a terminal alone."""
    assert "failed" in table([summary_of(BOOKING)], Style())
    assert "failed" not in table([summary_of(BOOKING[:2])], Style())


def test_the_list_says_what_took_how_long() -> None:
    """By the root, with everybody who took part."""
    text = table([summary_of(BOOKING)], Style())
    assert "10.0 ms      4" in text
    assert "POST /booking/slots/book  (all, worker)" in text


@pytest.mark.parametrize("which", [TRACE, TRACE[:6], "r-1"])
def test_a_trace_is_found_by_its_id_its_beginning_or_the_request(which: str) -> None:
    """What stands in a log line or a problem document."""
    assert find(by_trace(BOOKING), which) == TRACE


def test_who_is_meant_must_be_clear() -> None:
    """Nobody, or several."""
    traces = {TRACE: BOOKING, "a" * 31 + "b": BOOKING}
    with pytest.raises(SettingsProblem, match="No trace and no request 'zzzz'"):
        find(traces, "zzzz")
    with pytest.raises(SettingsProblem, match="may be any of"):
        find(traces, "aaaa")
    with pytest.raises(SettingsProblem, match="No trace"):
        find({TRACE: BOOKING}, "a")


def test_the_command_shows_the_list_a_trace_and_json(tmp_path: Path) -> None:
    """Jobs are hidden until they are asked for."""
    job = line(name="job audit-chain", context={"trace_id": f"0x{'b' * 32}", "span_id": "0x01"})
    (tmp_path / "telemed-all.jsonl").write_text(f"{line()}\n{job}\n")
    run = CliRunner().invoke
    listed = run(app, ["trace", "--directory", str(tmp_path)]).stdout
    assert "GET /a" in listed
    assert "job audit-chain" not in listed
    assert "job audit-chain" in run(app, ["trace", "--jobs", "--directory", str(tmp_path)]).stdout
    as_json = run(app, ["trace", "--json", "--directory", str(tmp_path)]).stdout
    assert [one["trace_id"] for one in json.loads(as_json)] == [TRACE]
    assert "GET /a" in run(app, ["trace"], env={"TRACE_DIRECTORY": str(tmp_path)}).stdout
    assert "None of the 2" in str(run(app, ["trace", "--failed", "--directory", str(tmp_path)]).exception)
    assert "250.0 ms" in run(app, ["trace", TRACE[:8], "--directory", str(tmp_path)]).stdout
    assert json.loads(run(app, ["trace", TRACE, "--json", "--directory", str(tmp_path)]).stdout)[0]["name"] == "GET /a"


@pytest.mark.parametrize("prepare", [lambda folder: folder / "none", lambda folder: folder])
def test_where_there_is_nothing_it_says_how_to_get_some(tmp_path: Path, prepare: Any) -> None:
    """In one sentence."""
    result = CliRunner().invoke(app, ["trace", "--directory", str(prepare(tmp_path))])
    assert isinstance(result.exception, SettingsProblem)
    assert "make run" in str(result.exception) or "TRACE_SAMPLE_RATIO" in str(result.exception)
