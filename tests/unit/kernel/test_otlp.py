"""What we write down for a collector is what the SDK would have made of it, byte for byte."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from tests.unit.kernel.test_tracing import made

from telemed.kernel.telemetry.noted import NotedSpan, readable
from telemed.kernel.telemetry.otlp import CollectorExporter, Encoder, encoded
from telemed.kernel.telemetry.spans import Kind

RESOURCE = Resource.create({"service.name": "telemed-test", "service.version": "1"})
INSTANTS = st.integers(1, 2**63 - 1)
# Long ones too: lengths take one byte, two, or three.
TEXTS = st.one_of(st.text(max_size=20), st.integers(100, 20_000).map("é".__mul__))
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
SPANS = st.builds(
    NotedSpan,
    name=TEXTS.filter(bool),
    kind=st.sampled_from(Kind),
    attributes=st.dictionaries(
        st.one_of(st.text(min_size=1, max_size=9), st.sampled_from(["telemed.request_id", "http.route"])),
        VALUES,
        max_size=4,
    ),
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    span_id=st.binary(min_size=8, max_size=8).filter(any),
    parent_id=st.none() | st.binary(min_size=8, max_size=8).filter(any),
    parent_is_remote=st.booleans(),
    started_ns=INSTANTS,
    ended_ns=INSTANTS,
    error=st.none() | st.just("KeyError"),
)


def by_the_sdk(span: NotedSpan) -> bytes:
    message = encode_spans([readable(span, RESOURCE)])
    whole: bytes = message.resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    return whole


@given(SPANS)
def test_a_span_is_encoded_as_by_the_sdk(span: NotedSpan) -> None:
    """Ids, times, kinds, every type of attribute, parents of ours and of others."""
    assert encoded(span) == by_the_sdk(span)


def test_values_that_are_equal_to_python_are_not_confused() -> None:
    """1, 1.0 and True: what was encoded before is remembered."""
    for value in (1, True, 1.0, 0, False, 0.0):
        span = span_with(value=value)
        assert encoded(span) == by_the_sdk(span)


def test_a_request_names_the_process_and_has_all_spans() -> None:
    """As a collector reads it: resource, scope and spans, as the SDK says them."""
    spans = [span_with(number=number) for number in range(300)]
    ours = ExportTraceServiceRequest.FromString(Encoder(RESOURCE).request(spans))
    assert ours == encode_spans([readable(span, RESOURCE) for span in spans])
    assert ours.resource_spans[0].scope_spans[0].scope.name == "telemed"


def test_spans_of_libraries_go_along_in_the_same_request() -> None:
    """FastAPI's instrumentation makes spans of the SDK's; a collector gets one body with both."""
    bodies: list[bytes] = []
    exporter = CollectorExporter(RESOURCE, "http://127.0.0.1:9/v1/traces", within_seconds=1)

    class Client:
        def export(self, body: bytes) -> "Client":
            bodies.append(body)
            return self

        success = True

    exporter._client = Client()  # type: ignore[assignment]
    exporter.export([span_with(a=1), made(b="2")])
    (body,) = bodies
    names = [
        span.name
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert names == ["GET /a", "x"]


def span_with(**attributes: str | int | float | bool) -> NotedSpan:
    return NotedSpan("GET /a", Kind.SERVER, attributes, b"t" * 16, b"s" * 8, None, False, 1, 2, None)
