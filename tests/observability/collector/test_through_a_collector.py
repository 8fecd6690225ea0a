"""Spans through a real collector that redacts by our list: all of them arrive, and nothing that is not on the list."""

from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from tests.observability.collector.configuration import CONFIG, read
from tests.observability.collector.rotel import bodies_of, running_rotel, spans_of
from tests.observability.contract.receiver import receiving
from tests.support.settings import make_settings
from tests.support.waiting import until

from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.spans import Kind, span
from telemed.kernel.telemetry.tracing import Tracing

MARKER = "Meera-Marker"
# Run by themselves (`make test-observe`): within the whole suite rotel, an alpha, panicked in its Python hook.
pytestmark = pytest.mark.drill
MANY = 1000


@pytest.fixture
def provider() -> TracerProvider:
    """An SDK that nobody of ours has configured: it says whatever it is told."""
    resource = Resource.create({"service.name": "stranger", "process.command_line": MARKER})
    return TracerProvider(resource=resource, shutdown_on_exit=False)


async def test_every_span_arrives_once(tmp_path: Path, provider: TracerProvider) -> None:
    """A thousand in batches, none lost, none twice, each with its ids and times."""
    with receiving() as backend:
        async with running_rotel(tmp_path, read(CONFIG), backend) as address:
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{address}/v1/traces")))
            for _ in range(MANY):
                with provider.get_tracer("test").start_as_current_span("SELECT booking.slots"):
                    pass
            provider.shutdown()
            await until(lambda: len(spans_of(backend)) >= MANY)
        arrived = spans_of(backend)
    assert Counter(Counter(one.span_id for one in arrived).values()) == {1: MANY}
    assert {one.name for one in arrived} == {"SELECT booking.slots"}
    assert all(0 < one.starts_ns <= one.ends_ns for one in arrived)
    assert backend.paths == {"/v1/traces"}


async def test_what_is_not_on_the_list_does_not_arrive(tmp_path: Path, provider: TracerProvider) -> None:
    """Wherever it is: resource, scope, span, event, status, trace state, and inside of a value that may stay."""
    state = TraceState([("client", MARKER)])
    parent = SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=state)
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJNZWVyYSJ9.c2lnbmF0dXJl"
    with receiving() as backend:
        async with running_rotel(tmp_path, read(CONFIG), backend) as address:
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{address}/v1/traces")))
            tracer = provider.get_tracer("test", attributes={"scope.note": MARKER})
            made = tracer.start_span("POST /booking/slots/book", context=set_span_in_context(NonRecordingSpan(parent)))
            made.set_attributes(
                {
                    "http.route": "/booking/slots/book",
                    "http.response.status_code": 500,
                    "url.path": f"/booking/{MARKER}",
                    "url.query": f"name={MARKER}",
                    "user_agent.original": MARKER,
                    "client.address": MARKER,
                    "enduser.id": MARKER,
                    "telemed.request_id": f"{MARKER}@example.com and {token}".replace(MARKER, "meera"),
                }
            )
            made.add_event("exception", {"exception.type": "ValueError", "exception.message": MARKER})
            made.set_status(Status(StatusCode.ERROR, f"{MARKER} has no appointment"))
            made.end()
            provider.shutdown()
            await until(lambda: bool(backend.bodies))
        raw, (arrived,) = b"".join(bodies_of(backend)), spans_of(backend)
    assert MARKER.encode() not in raw
    assert b"meera@" not in raw
    assert token.encode() not in raw
    assert arrived.attributes == {
        "http.route": "/booking/slots/book",
        "http.response.status_code": 500,
        "telemed.request_id": "**** and ****",
    }
    assert (arrived.service, arrived.is_error) == ("stranger", True)
    assert b"ValueError" in raw


async def test_what_our_processes_send_arrives_unchanged(tmp_path: Path) -> None:
    """The collector's list takes nothing away from them that is on theirs."""
    attributes = {"http.request.method": "GET", "http.route": "/booking/slots/search", "telemed.request_id": "abc-1"}
    statement = {"db.system.name": "postgresql", "db.query.text": "SELECT id FROM booking.slots WHERE id = $1"}
    with receiving() as backend:
        async with running_rotel(tmp_path, read(CONFIG), backend) as address:
            settings = make_settings().model_copy(update={"otel_exporter_otlp_endpoint": address})
            metrics = Metrics()
            tracing = Tracing(settings, metrics, service="booking")
            trace = begin_trace(traceparent=None, request_id=None, decide=lambda _: True)
            with (
                tracing.unit(trace, "GET /booking/slots/search", Kind.SERVER, attributes),
                span("SELECT booking.slots", Kind.CLIENT, statement),
            ):
                pass
            await tracing.close()
            await until(lambda: len(spans_of(backend)) >= 2)
        arrived = {one.name: one for one in spans_of(backend)}
    assert arrived["GET /booking/slots/search"].attributes == attributes
    assert arrived["SELECT booking.slots"].attributes == statement
    assert arrived["SELECT booking.slots"].parent_id == arrived["GET /booking/slots/search"].span_id == trace.span_id
    assert {one.service for one in arrived.values()} == {"telemed-booking"}
    assert metrics.registry.get_sample_value("telemed_trace_spans_total", {"outcome": "exported"}) == 2
