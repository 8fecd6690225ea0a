"""Makes OpenTelemetry's spans of the notes of one unit of work. Pure, but for the ids of spans."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemed.kernel.telemetry.context import Trace
from telemed.kernel.telemetry.spans import Attributes, Kind, Sketch

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(slots=True)
class Done:
    """A unit of work at its end. *error* is the kind of failure that is ours, None if there is none."""

    name: str
    kind: Kind
    attributes: Attributes
    error: str | None = None
    has_root: bool = False  # somebody else exports the span of the whole


def spans_of(
    sketch: Sketch, trace: Trace, done: Done, resource: Resource, *, ended_ns: int, wall_ns: int
) -> Iterator[ReadableSpan]:
    """Give the span of the whole, unless somebody else exports it, and those of the notes below it.

    *wall_ns* is what must be added to an instant of the notes' clock to make it one of the calendar's.
    """
    root = _context(int(trace.trace_id, 16), int(trace.span_id, 16))
    if not done.has_root:
        above = _context(root.trace_id, int(trace.parent_id, 16), is_remote=True) if trace.parent_id else None
        left_out = {"telemed.spans.left_out": sketch.left_out} if sketch.left_out else {}
        yield ReadableSpan(
            name=done.name,
            context=root,
            parent=above,
            resource=resource,
            attributes={**done.attributes, **_error(done.error), **left_out},
            kind=SpanKind(done.kind.value),
            status=_status(done.error),
            start_time=sketch.started_ns + wall_ns,
            end_time=ended_ns + wall_ns,
        )
    contexts: dict[int, SpanContext] = {}
    for note in sketch.notes:
        context = contexts[id(note)] = _context(root.trace_id, random.getrandbits(64) or 1)
        yield ReadableSpan(
            name=note.name,
            context=context,
            parent=contexts.get(id(note.parent), root),
            resource=resource,
            attributes={**(note.attributes or {}), **_error(note.error)},
            kind=SpanKind(note.kind.value),
            status=_status(note.error),
            start_time=note.started_ns + wall_ns,
            # What has not ended was cut short, or is a shared flight's, which goes on for others.
            end_time=(note.ended_ns or ended_ns) + wall_ns,
        )


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=_SAMPLED)


def _error(error: str | None) -> Attributes:
    return {"error.type": error} if error is not None else {}


def _status(error: str | None) -> Status:
    return Status(StatusCode.UNSET if error is None else StatusCode.ERROR)
