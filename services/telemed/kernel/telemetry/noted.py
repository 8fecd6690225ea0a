"""Our own spans as they wait to be sent: what is needed to encode them, and no more.

OpenTelemetry's object for the same costs as much to make as the rest of a sampled request's telemetry together.
"""

from typing import NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemed.kernel.telemetry.spans import Attributes, Kind, Value

SCOPE = InstrumentationScope("telemed")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class NotedSpan(NamedTuple):
    """One span. Ids are the 16 and 8 bytes of W3C's; instants nanoseconds since 1970."""

    name: str
    kind: Kind
    attributes: Attributes
    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    parent_is_remote: bool
    started_ns: int
    ended_ns: int
    error: str | None


# Those of FastAPI's instrumentation come from the SDK.
AnySpan = NotedSpan | ReadableSpan


def readable(span: NotedSpan, resource: Resource) -> ReadableSpan:
    """Give it as the SDK has it."""
    parent = None
    if span.parent_id is not None:
        parent = _context(span.trace_id, span.parent_id, is_remote=span.parent_is_remote)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=parent,
        resource=resource,
        attributes=dict(span.attributes),
        kind=SpanKind(span.kind.value),
        status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
        start_time=span.started_ns,
        end_time=span.ended_ns,
        instrumentation_scope=SCOPE,
    )


def noted(span: ReadableSpan) -> NotedSpan:
    """Take down one of the SDK's that has ended, without its events and links; what was allowed to leave is scalar."""
    attributes = {name: value for name, value in (span.attributes or {}).items() if isinstance(value, Value)}
    has_failed = span.status.status_code is StatusCode.ERROR
    return NotedSpan(
        name=span.name,
        kind=Kind(span.kind.value),
        attributes=attributes,
        trace_id=span.context.trace_id.to_bytes(16),
        span_id=span.context.span_id.to_bytes(8),
        parent_id=span.parent.span_id.to_bytes(8) if span.parent is not None else None,
        parent_is_remote=span.parent is not None and span.parent.is_remote,
        started_ns=span.start_time or 0,
        ended_ns=span.end_time or 0,
        error=str(attributes.get("error.type", "error")) if has_failed else None,
    )


def _context(trace_id: bytes, span_id: bytes, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=is_remote, trace_flags=_SAMPLED)
