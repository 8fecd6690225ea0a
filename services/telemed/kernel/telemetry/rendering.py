"""Makes spans of the notes of one unit of work. Pure, but for the ids of spans."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from telemed.kernel.telemetry.answered import OTHER_METHOD, UNMATCHED, Answered
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
        if sketch.left_out:
            done.attributes = {**done.attributes, "telemed.spans.left_out": sketch.left_out}
        yield root_span(trace, done, started_ns=sketch.started_ns + wall_ns, ended_ns=ended_ns + wall_ns)
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


def done_request(answered: Answered) -> Done:
    """Describe the request in OpenTelemetry's words for HTTP servers."""
    _, trace, method, route, status, scheme, _, _ = answered
    is_known = method != OTHER_METHOD
    where = {} if route == UNMATCHED else {"http.route": route}
    return Done(
        # As the instrumentation names it, or one request would have two names, by whether it was sampled.
        " ".join((method if is_known else "HTTP", *where.values())),
        Kind.SERVER,
        {
            "http.request.method": method if is_known else "_OTHER",
            **where,
            "http.response.status_code": int(status),
            "url.scheme": scheme,
            "telemed.request_id": trace.request_id,
        },
        error=status if status >= "500" else None,
    )


def span_of(answered: Answered) -> NotedSpan:
    """Make the span of a request of which nothing else was noted."""
    *_, seconds, ended = answered
    ended_ns = int(ended * 1e9)
    return root_span(answered[1], done_request(answered), started_ns=ended_ns - int(seconds * 1e9), ended_ns=ended_ns)


def root_span(trace: Trace, done: Done, *, started_ns: int, ended_ns: int) -> NotedSpan:
    """Give the span of the whole; instants are nanoseconds since 1970."""
    return NotedSpan(
        name=done.name,
        kind=done.kind,
        attributes=_with_error(done.attributes, done.error),
        trace_id=bytes.fromhex(trace.trace_id),
        span_id=bytes.fromhex(trace.span_id),
        parent_id=bytes.fromhex(trace.parent_id) if trace.parent_id else None,
        parent_is_remote=trace.parent_id is not None,
        started_ns=started_ns,
        ended_ns=ended_ns,
        error=done.error,
    )


def _with_error(attributes: Attributes, error: str | None) -> Attributes:
    return attributes if error is None else {**attributes, "error.type": error}
