"""Which traces are kept, and what leaves the process with them."""

import json
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.http import sanitize_method
from pydantic import SecretStr
from tests.support.events import LoggedEvents

from telemed.kernel.http.request_metrics import method_label
from telemed.kernel.http.route_table import UNKNOWN
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.budget import Budget
from telemed.kernel.telemetry.context import Trace, begin_trace
from telemed.kernel.telemetry.export import QUEUE, BoundedProcessor, WatchedExporter, redacted
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.noted import AnySpan, NotedSpan
from telemed.kernel.telemetry.otlp import encoded
from telemed.kernel.telemetry.rendering import Done, done_request
from telemed.kernel.telemetry.spans import Kind, look_at, look_away, span
from telemed.kernel.telemetry.tracing import Tracing

CONTEXT = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = CALLER[:-2] + "00"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def tracing(tmp_path: Path, metrics: Metrics) -> AsyncIterator[Tracing]:
    """Traces into files of the test; nothing is sampled by chance, and a tenth of a second is slow."""
    made = Tracing(settings(trace_directory=tmp_path), metrics, service="test")
    yield made
    await made.close()


def settings(**changes: Any) -> Settings:
    values = {"trace_sample_ratio": 0.0, "trace_slow_seconds": 0.1, **changes}
    return Settings(jwt_secret=SecretStr("only-for-the-tests-of-this-module"), **values)


def begin(tracing: Tracing, traceparent: str | None = None) -> Trace:
    return begin_trace(traceparent=traceparent, request_id="r1", decide=tracing.decide)


def work(tracing: Tracing, trace: Trace, *, error: str | None = None, seconds: float = 0.0) -> bool:
    """A request with one statement; says whether its trace is kept."""
    sketch = tracing.sketch()
    assert sketch is not None
    token = look_at(sketch)
    with span("SELECT a.b", Kind.CLIENT, {"db.system.name": "postgresql"}):
        pass
    look_away(token)
    sketch.started_ns -= int(seconds * 1e9)
    return tracing.finish(sketch, trace, Done("GET /a", Kind.SERVER, {"http.route": "/a"}, error))


async def exported(tracing: Tracing, directory: Path) -> list[dict[str, Any]]:
    await tracing.close()
    return read_lines(directory)


def read_lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in directory.glob("*.jsonl") for line in file.read_text().splitlines()]


def count(metrics: Metrics, name: str) -> dict[str, float]:
    metric = getattr(metrics, name)
    return {next(iter(s.labels.values())): s.value for s in metric.collect()[0].samples if s.value}


async def test_a_request_of_which_only_the_end_was_noted_is_a_span(
    tracing: Tracing, tmp_path: Path, metrics: Metrics
) -> None:
    """When it began and ended, whose child it is, and nothing that the edge did not say."""
    trace = begin(tracing, CALLER)
    assert tracing.keep(("request.answered", trace, "GET", "/a/{id}", "503", "https", 0.25, 1e9 + 0.5))
    assert count(metrics, "traces") == {"sampled": 1}
    (root,) = await exported(tracing, tmp_path)
    assert (root["name"], root["kind"], root["status"]["status_code"]) == ("GET /a/{id}", "SpanKind.SERVER", "ERROR")
    assert (root["context"]["trace_id"], root["context"]["span_id"]) == (f"0x{CALLER[3:35]}", f"0x{trace.span_id}")
    assert root["parent_id"] == f"0x{CALLER[36:52]}"
    assert root["start_time"] == "2001-09-09T01:46:40.250000Z"
    assert root["end_time"] == "2001-09-09T01:46:40.500000Z"
    assert root["attributes"] == {
        "http.request.method": "GET",
        "http.route": "/a/{id}",
        "http.response.status_code": 503,
        "url.scheme": "https",
        "telemed.request_id": "r1",
        "error.type": "503",
    }


def test_a_method_that_http_does_not_know_is_called_as_the_instrumentation_calls_it() -> None:
    """By whether it is sampled one span or the other is made, and a client can send any word."""
    trace = begin_trace(traceparent=None, request_id=None)
    done = done_request(("request.answered", trace, method_label("BREW"), "/a/{id}", "405", "https", 0.25, 1e9))
    assert done.name == "HTTP /a/{id}"
    assert done.attributes["http.request.method"] == sanitize_method("BREW") == "_OTHER"


def test_a_request_without_a_route_has_none_in_its_name() -> None:
    """As the instrumentation leaves it out: addresses that nothing answers to are no name to count by."""
    trace = begin_trace(traceparent=None, request_id=None)
    done = done_request(("request.answered", trace, "GET", UNKNOWN.template, "404", "https", 0.25, 1e9))
    assert done.name == "GET"
    assert "http.route" not in done.attributes


async def test_without_a_destination_no_request_is_kept(metrics: Metrics) -> None:
    """The caller's word is passed on, and nobody waits for a span."""
    tracing = Tracing(settings(), metrics, service="test")
    trace = begin(tracing, CALLER)
    assert trace.sampled
    assert not tracing.keep(("request.answered", trace, "GET", "/a", "200", "http", 0.1, 1e9))
    assert count(metrics, "traces") == {}


async def test_a_caller_who_traces_gets_one_tree(tracing: Tracing, tmp_path: Path) -> None:
    """Same trace, the caller's span above ours, the statement below it."""
    trace = begin(tracing, CALLER)
    assert work(tracing, trace)
    root, statement = await exported(tracing, tmp_path)
    assert root["context"]["trace_id"] == statement["context"]["trace_id"] == f"0x{CALLER[3:35]}"
    assert root["parent_id"] == f"0x{CALLER[36:52]}"
    assert root["context"]["span_id"] == statement["parent_id"] == f"0x{trace.span_id}"
    assert (root["kind"], statement["kind"]) == ("SpanKind.SERVER", "SpanKind.CLIENT")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(root["end_time"])) < timedelta(minutes=1)


async def test_what_nobody_samples_is_passed_over(tracing: Tracing, metrics: Metrics, tmp_path: Path) -> None:
    """Neither by chance (the ratio is nought) nor against a caller's word."""
    assert not work(tracing, begin(tracing))
    assert not work(tracing, begin(tracing, NOT_SAMPLED))
    assert await exported(tracing, tmp_path) == []
    assert count(metrics, "traces") == {"passed_over": 2}


@pytest.mark.parametrize(
    ("error", "seconds", "decision"), [("500", 0.0, "kept_error"), (None, 0.2, "kept_slow"), ("504", 5.0, "kept_error")]
)
async def test_failures_and_slow_ones_are_kept_with_all_that_was_noted(
    tracing: Tracing, metrics: Metrics, tmp_path: Path, error: str | None, seconds: float, decision: str
) -> None:
    """Also where the caller has decided against it: these are the ones that somebody looks for."""
    assert work(tracing, begin(tracing, NOT_SAMPLED), error=error, seconds=seconds)
    root, statement = await exported(tracing, tmp_path)
    assert root["attributes"].get("error.type") == error
    assert statement["parent_id"] == root["context"]["span_id"]
    assert count(metrics, "traces") == {decision: 1}
    assert count(metrics, "spans") == {"exported": 2}


async def test_what_is_done_for_several_stands_in_the_trace_of_each(tracing: Tracing, tmp_path: Path) -> None:
    """Below its own root; who is not sampled has none of it."""
    callers = [f"00-{place:032x}-{place:016x}-{flag}" for place, flag in ((1, "01"), (2, "01"), (3, "00"))]
    units = [(begin(tracing, caller), Done("process a", Kind.CONSUMER, {})) for caller in callers]
    with tracing.shared(units), span("SELECT a.b", Kind.CLIENT):
        pass
    spans = await exported(tracing, tmp_path)
    assert len(spans) == 4
    for place, (trace, _) in enumerate(units[:2], start=1):
        root, statement = [made for made in spans if made["context"]["trace_id"] == f"0x{place:032x}"]
        assert (root["name"], root["parent_id"]) == ("process a", f"0x{place:016x}")
        assert statement["parent_id"] == root["context"]["span_id"] == f"0x{trace.span_id}"


async def test_what_failed_for_several_stands_in_no_trace(tracing: Tracing, metrics: Metrics, tmp_path: Path) -> None:
    """Each will have its own, when it is done again alone."""
    with pytest.raises(ValueError, match="x"), tracing.shared([(begin(tracing, CALLER), Done("a", Kind.CONSUMER, {}))]):
        raise ValueError("x")
    assert await exported(tracing, tmp_path) == []
    assert count(metrics, "traces") == {}


async def test_an_outage_does_not_become_one_of_telemetry(tracing: Tracing, metrics: Metrics) -> None:
    """A few failures show all there is; the rest is counted."""
    kept = sum(work(tracing, begin(tracing), error="500") for _ in range(500))
    assert 20 <= kept < 60
    assert count(metrics, "traces")["passed_over"] == 500 - kept


async def test_clients_cannot_have_everything_traced(tracing: Tracing) -> None:
    """The flag in `traceparent` is anybody's to set."""
    wished = sum(begin(tracing, CALLER).sampled for _ in range(1000))
    assert 50 <= wished < 200


async def test_the_ratio_holds_for_those_who_have_not_decided(tmp_path: Path) -> None:
    """About a third of three thousand."""
    tracing = Tracing(settings(trace_sample_ratio=1 / 3, trace_directory=tmp_path), Metrics(), service="test")
    assert 800 < sum(begin(tracing).sampled for _ in range(3000)) < 1200
    await tracing.close()


async def test_without_a_destination_nothing_is_done_and_the_flag_is_passed_on(metrics: Metrics) -> None:
    """Whoever traces before and behind us still gets a tree."""
    tracing = Tracing(settings(), metrics, service="test")
    assert tracing.sketch() is None
    assert begin(tracing, CALLER).sampled
    assert not begin(tracing).sampled
    assert not tracing.finish(None, begin(tracing), Done("GET /", Kind.SERVER, {}, "500"))
    assert count(metrics, "traces") == {}
    await tracing.close()


async def test_a_unit_of_work_that_raises_is_kept_as_a_failure(tracing: Tracing, tmp_path: Path) -> None:
    """By its type; a job's or a delivery's trace."""
    with pytest.raises(KeyError), tracing.unit(begin(tracing), "job x", Kind.INTERNAL, {"telemed.job": "x"}):
        raise KeyError("secret")
    (root,) = await exported(tracing, tmp_path)
    assert root["attributes"] == {"telemed.job": "x", "error.type": "KeyError"}
    assert "secret" not in json.dumps(root)


class Destination(SpanExporter):
    """Takes, refuses, or breaks."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.answers = list(answers)
        self.got: list[AnySpan] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.got += spans
        answer = self.answers.pop(0) if self.answers else SpanExportResult.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer

    def shutdown(self) -> None: ...


def made(**attributes: str) -> ReadableSpan:
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return ReadableSpan("x", context, attributes=attributes, kind=SpanKind.SERVER, start_time=1, end_time=2)


def test_a_destination_that_is_lost_is_said_once_and_counted(metrics: Metrics, events: LoggedEvents) -> None:
    """Not with every batch; and once when it is back."""
    gone = ConnectionError("http://collector:4318 with a token")
    exporter = WatchedExporter(Destination(gone, SpanExportResult.FAILURE, gone, SpanExportResult.SUCCESS), metrics)
    for _ in range(5):
        exporter.export([made()])
    assert [event["event"] for event in events.all] == ["traces.lost", "traces.recovered"]
    assert "token" not in json.dumps(events.all)
    assert count(metrics, "spans") == {"failed": 3, "exported": 2}


def test_only_what_is_on_the_list_leaves_the_process() -> None:
    """Addresses, user agents, texts of exceptions and descriptions of a status stay here."""
    forbidden = {"url.path": "/secret", "url.query": "q=secret", "user_agent.original": "secret"}
    spoken = made(**forbidden, **{"http.route": "/a"})
    told = ReadableSpan(
        spoken.name,
        spoken.context,
        attributes=spoken.attributes,
        events=[],
        links=[Link(CONTEXT, {"note": "secret"})],
        status=Status(StatusCode.ERROR, "ValueError: secret"),
        start_time=1,
        end_time=2,
    )
    left = redacted(told)
    assert dict(left.attributes or {}) == {"http.route": "/a"}
    assert left.status.status_code is StatusCode.ERROR
    assert "secret" not in left.to_json()


def test_our_own_notes_are_held_to_the_same_list() -> None:
    """Whatever somebody notes one day; for a file and for a collector."""
    noted = NotedSpan(
        "x", Kind.SERVER, {"url.path": "/secret", "http.route": "/a"}, b"t" * 16, b"s" * 8, None, False, 1, 2, None
    )
    exporter = WatchedExporter(destination := Destination(), Metrics())
    exporter.export([noted])
    (left,) = destination.got
    assert isinstance(left, NotedSpan)
    assert left.attributes == {"http.route": "/a"}
    assert b"secret" not in encoded(left)
    assert redacted(left) is left


def test_what_a_caller_adds_to_its_trace_stays_here() -> None:
    """`tracestate` is free text of a client's; the ids remain."""
    state = TraceState([("vendor", "secret")])
    context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=state)
    left = redacted(ReadableSpan("x", context, parent=context, start_time=1, end_time=2))
    assert "secret" not in left.to_json()
    for kept in (left.context, left.parent):
        assert kept is not None
        assert (kept.trace_id, kept.span_id, dict(kept.trace_state)) == (1, 2, {})


async def test_spans_that_cannot_leave_are_dropped_and_counted(metrics: Metrics) -> None:
    """The queue has a bound: a collector that is gone costs spans, not memory."""

    class Stuck(Destination):
        def export(self, spans: Any) -> SpanExportResult:
            ended.wait(30)
            return super().export(spans)

    ended = threading.Event()
    stuck = Stuck()
    processor = BoundedProcessor([stuck], metrics)
    for _ in range(QUEUE + 2000):
        processor.on_end(made())
    assert 0 < count(metrics, "spans")["dropped"] <= 2000
    begun = time.monotonic()
    await processor.close()
    assert time.monotonic() - begun < 10, "the end of a process does not wait for it"
    ended.set()


def test_a_budget_refills_with_time() -> None:
    """So many a second, and never more than a second's worth at once."""
    now = 100.0
    budget = Budget(3, monotonic=lambda: now)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    now += 0.4
    assert [budget.take() for _ in range(2)] == [True, False]
    now += 1000
    assert sum(budget.take() for _ in range(10)) == 3
