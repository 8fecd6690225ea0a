"""No word of a patient gets to where nobody looks after it: logs, spans, metrics, errors, cache, events, audit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.observability.contract.channels import CACHED, RAISED, STORED, TOLD, leaks
from tests.observability.contract.gathering import Gathered
from tests.observability.contract.markers import Markers
from tests.observability.contract.replies import Answer
from tests.observability.contract.stage import what_may_be_logged

from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.export import redacted
from telemed.local.postgres import SETTINGS

KIND = "diagnosis"


def test_nothing_of_a_patient_gets_about(gathered: Gathered) -> None:
    """After a whole case and every failure that tempts, markers are in the tables meant for them and nowhere else."""
    assert leaks(gathered) == []


def test_the_markers_were_there_to_be_found(gathered: Gathered) -> None:
    """Where they may be they are; a search that finds nothing there proves nothing elsewhere."""
    found = gathered.markers.found_in
    assert {column: found(text) for column, text in gathered.rows.items() if found(text)} == STORED
    assert set().union(*(found(text) for text in gathered.cached.values())) == CACHED
    assert set().union(*(found(text) for text in gathered.server_logs.values())) == RAISED
    assert set().union(*(found(answer.body) for answer in gathered.answers if answer.is_failure)) == TOLD
    shown = set().union(*(found(answer.body) for answer in gathered.answers if not answer.is_failure))
    assert {kind.rpartition(" ")[0] for kind in shown & gathered.markers.given.keys()} == {
        "refresh token",
        "access token",
    }


def test_every_channel_had_something_in_it(gathered: Gathered) -> None:
    """Failures were logged with their way, spans left, events and audit records were written, statements logged."""
    failed = [line for line in gathered.lines("booking") if line["event"] == "request.failed"]
    assert failed
    assert "sqlstate=" in failed[0]["exception"]
    assert any(line["event"] == "event.failed" for line in gathered.lines("worker"))
    assert any(line["event"] == "job.failed" for line in gathered.lines("worker"))
    assert gathered.exported
    assert gathered.trace_files
    for column in ("platform.outbox.payload", "platform.outbox.last_error", "audit.records.details"):
        assert any(text for name, text in gathered.rows.items() if name.startswith(column)), column
    assert "booking.book_slot(" in gathered.server_logs["pg-0"], "slow statements are logged"
    assert "# EOF" in gathered.openmetrics["booking"]


def spans_with(value: str) -> list[ReadableSpan]:
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return [ReadableSpan("GET /a", context, attributes={"url.path": value}, start_time=1, end_time=2)]


def bytes_of(spans: list[ReadableSpan]) -> bytes:
    return bytes(encode_spans(spans).SerializeToString())


PLANTED: dict[str, Callable[[Gathered, str], Gathered]] = {
    "log": lambda run, word: replace(run, logs={"booking": f'{{"event": "{word.upper()}"}}'}),
    "metrics": lambda run, word: replace(run, plain={"auth": f'a_total{{email="{word}"}} 1'}),
    "exemplars": lambda run, word: replace(run, openmetrics={"auth": f'a_total 1 # {{trace_id="{word}"}} 1'}),
    "trace file": lambda run, word: replace(run, trace_files={"a.jsonl": word}),
    "spans": lambda run, word: replace(run, exported=[bytes_of(spans_with(word))]),
    "server log": lambda run, word: replace(run, server_logs={"pg-0": f"DETAIL:  Parameters: $1 = '{word}'"}),
    "cache": lambda run, word: replace(run, cached={f"telemed:search:{word}": ""}),
    "table": lambda run, word: replace(run, rows={"platform.outbox.payload": f'{{"reason": "{word}"}}'}),
    "headers": lambda run, word: replace(run, answers=[Answer("GET", "/a", 200, {"x-request-id": word}, "")]),
    "problem": lambda run, word: replace(run, answers=[Answer("GET", "/a", 422, {}, f'{{"detail": "{word}"}}')]),
}


@pytest.mark.parametrize("channel", PLANTED)
def test_a_marker_is_found_in_every_channel(channel: str) -> None:
    """Planted there, it is a leak there."""
    empty = Gathered(Markers())
    planted = PLANTED[channel](empty, empty.markers[KIND])
    assert [(leak.channel, leak.kinds) for leak in leaks(planted)] == [(channel, frozenset({KIND}))]


def test_bytes_are_searched_by_their_hexadecimal() -> None:
    """PostgreSQL shows bytes so."""
    empty = Gathered(Markers())
    shown = "\\x" + empty.markers[KIND].encode().hex()
    assert leaks(replace(empty, rows={"platform.outbox.last_error": shown}))


def test_the_same_span_is_clean_when_it_leaves_as_ours_do() -> None:
    """Redaction is what makes the difference."""
    empty = Gathered(Markers())
    left = bytes_of([redacted(span) for span in spans_with(empty.markers[KIND])])
    assert leaks(replace(empty, exported=[left])) == []


async def test_a_failed_statement_says_nothing_of_its_values(resources: Resources) -> None:
    """The wall behind `safe_traceback`: whoever writes the text of a database's error into a log has none of them."""
    word = Markers()[KIND]

    async def fails(session: AsyncSession) -> None:
        await session.execute(text("SELECT 1 / 0 FROM (VALUES (CAST(:word AS text))) AS given"), {"word": word})

    with pytest.raises(DBAPIError) as failed:
        await resources.db.read(fails)
    assert "SELECT 1 / 0" in str(failed.value)
    assert word not in str(failed.value)


def test_every_server_of_ours_logs_as_little() -> None:
    """The databases of `make run` as those of compose; the chart is compared with compose in tests/charts."""
    own = {name: value for name, value in SETTINGS.items() if name in what_may_be_logged()}
    assert own == what_may_be_logged() != {}
