"""Spans in files are what the SDK would have written, as `telemed trace` reads it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status, StatusCode
from tests.unit.kernel.test_otlp import RESOURCE, SPANS, span_with

from telemed.kernel.telemetry import files
from telemed.kernel.telemetry.files import FileExporter, lines_of
from telemed.kernel.telemetry.noted import NotedSpan, readable
from telemed.traces.reading import SpanLine, parsed, read_spans

INSTANTS = st.integers(1, 4 * 10**18)  # until the year 2096
OF_THIS_CENTURY = st.tuples(SPANS, INSTANTS, INSTANTS).map(
    lambda drawn: drawn[0]._replace(started_ns=min(drawn[1:]), ended_ns=max(drawn[1:]))
)
TICK = timedelta(microseconds=1)  # the SDK rounds to it, by way of a float


def read_back(span: NotedSpan | ReadableSpan) -> SpanLine:
    (line,) = lines_of([span], json.dumps({"attributes": dict(RESOURCE.attributes)}))
    assert line.endswith("\n")
    assert line.count("\n") == 1
    found = parsed(line)
    assert found is not None, line
    return found


def by_the_sdk(span: ReadableSpan) -> SpanLine:
    found = parsed(span.to_json(indent=None))
    assert found is not None
    return found


def assert_alike(ours: SpanLine, theirs: SpanLine) -> None:
    assert abs(ours.started_at - theirs.started_at) <= TICK
    assert ours.seconds == pytest.approx(theirs.seconds, abs=3e-6)
    assert replace(ours, started_at=theirs.started_at, seconds=theirs.seconds) == theirs


@given(OF_THIS_CENTURY)
def test_a_span_of_ours_reads_as_the_sdks(span: NotedSpan) -> None:
    """Ids, parents, times, failures, every type of attribute and every letter."""
    assert_alike(read_back(span), by_the_sdk(readable(span, RESOURCE)))


@given(OF_THIS_CENTURY)
def test_a_span_of_a_library_reads_as_it_would_write_itself(span: NotedSpan) -> None:
    """What FastAPI's instrumentation makes is written by the same hand."""
    theirs = readable(span, RESOURCE)
    assert_alike(read_back(theirs), by_the_sdk(theirs))


def test_of_an_exception_the_type_is_written(tmp_path: Path) -> None:
    """It stands in an event of the library's span, whose failure has a name of its own."""
    noted = span_with()
    given = readable(noted, RESOURCE)
    failed = ReadableSpan(
        name=given.name,
        context=given.context,
        resource=RESOURCE,
        events=[Event("exception", {"exception.type": "KeyError"}, noted.ended_ns)],
        status=Status(StatusCode.ERROR),
        start_time=noted.started_ns,
        end_time=noted.ended_ns,
    )
    FileExporter(tmp_path, RESOURCE).export([failed])

    (line,) = (tmp_path / "telemed-test.jsonl").read_text().splitlines()
    assert json.loads(line)["events"] == [{"name": "exception", "attributes": {"exception.type": "KeyError"}}]
    assert read_spans(tmp_path).all[0].failed


def test_two_files_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So their size is bounded, and the newest spans are always there."""
    monkeypatch.setattr(files, "_FILE_BYTES", 10_000)
    exporter = FileExporter(tmp_path / "made", RESOURCE)
    for number in range(100):
        exporter.export([span_with(number=number)])

    found = read_spans(tmp_path / "made")
    numbers = sorted(span.attributes["number"] for span in found.all)
    assert found.broken == 0
    assert numbers == list(range(numbers[0], 100))
    assert numbers[0] > 0
    assert sum(file.stat().st_size for file in (tmp_path / "made").iterdir()) < 22_000
