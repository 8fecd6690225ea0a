"""Makes spans of the notes of one unit of work. Pure, but for the ids of spans."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from telemed.kernel.telemetry.context import Trace
from telemed.kernel.telemetry.noted import NotedSpan
from telemed.kernel.telemetry.spans import Attributes, Kind, Sketch


@dataclass(slots=True)
class Done:
    """A unit of work at its end. *error* is the kind of failure that is ours, None if there is none."""

    name: str
    kind: Kind
    attributes: Attributes
    error: str | None = None
    has_root: bool = False  # somebody else exports the span of the whole


def spans_of(sketch: Sketch, trace: Trace, done: Done, *, ended_ns: int, wall_ns: int) -> Iterator[NotedSpan]:
    """Give the span of the whole, unless somebody else exports it, and those of the notes below it.

    *wall_ns* is what must be added to an instant of the notes' clock to make it one of the calendar's.
    """
    trace_id, root_id = bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id)
    if not done.has_root:
        attributes = done.attributes
        if sketch.left_out:
            attributes = {**attributes, "telemed.spans.left_out": sketch.left_out}
        yield NotedSpan(
            name=done.name,
            kind=done.kind,
            attributes=_with_error(attributes, done.error),
            trace_id=trace_id,
            span_id=root_id,
            parent_id=bytes.fromhex(trace.parent_id) if trace.parent_id else None,
            parent_is_remote=trace.parent_id is not None,
            started_ns=sketch.started_ns + wall_ns,
            ended_ns=ended_ns + wall_ns,
            error=done.error,
        )
    ids: dict[int, bytes] = {}
    for note in sketch.notes:
        span_id = ids[id(note)] = (random.getrandbits(64) or 1).to_bytes(8)
        yield NotedSpan(
            name=note.name,
            kind=note.kind,
            attributes=_with_error(note.attributes or {}, note.error),
            trace_id=trace_id,
            span_id=span_id,
            parent_id=ids.get(id(note.parent), root_id),
            parent_is_remote=False,
            started_ns=note.started_ns + wall_ns,
            # What has not ended was cut short, or is a shared flight's, which goes on for others.
            ended_ns=(note.ended_ns or ended_ns) + wall_ns,
            error=note.error,
        )


def _with_error(attributes: Attributes, error: str | None) -> Attributes:
    return attributes if error is None else {**attributes, "error.type": error}
