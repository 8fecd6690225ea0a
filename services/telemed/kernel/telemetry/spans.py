"""What a unit of work did and when, noted so cheaply that it can be done for every request.

A note is a small object in a list; no OpenTelemetry is involved. Whether it becomes spans is decided at the end
(`kernel/telemetry/tracing.py`): if the trace is sampled, or if the work failed or was slow. Stock instrumentation
decides at the beginning, so it either costs as much as the request, or lacks just those that one wants to see.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from enum import IntEnum
from types import TracebackType
from typing import Self

# Beyond these, a unit of work is no longer looked at span by span; a batch of hundreds of statements says nothing more.
MAX_NOTES = 128

Value = str | int | float | bool
Attributes = Mapping[str, Value]


class Kind(IntEnum):
    """Who is at the other end; values are those of OpenTelemetry's SpanKind."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class Sketch:
    """The notes of one unit of work: a request, the delivery of an event, a run of a job."""

    __slots__ = ("is_closed", "left_out", "notes", "started_ns")

    def __init__(self) -> None:
        self.started_ns = time.monotonic_ns()
        self.notes: list[span] = []
        self.left_out = 0
        self.is_closed = False

    def add(self, note: "span") -> bool:
        """Keep the note, if there is room and the work goes on; what a shared flight does later is nobody's."""
        if self.is_closed:
            return False
        if len(self.notes) >= MAX_NOTES:
            self.left_out += 1
            return False
        self.notes.append(note)
        return True


class span:  # noqa: N801 - used as a statement: `with span("pool.wait"):`
    """Notes what happens inside of the context; does nothing where no unit of work is looked at."""

    __slots__ = ("_token", "attributes", "ended_ns", "error", "kind", "name", "parent", "sketch", "started_ns")

    def __init__(self, name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.error: str | None = None
        self.started_ns = self.ended_ns = 0
        self.sketch: Sketch | None = None
        self.parent: span | None = None
        self._token: Token[Sketch | span | None] | None = None

    def __enter__(self) -> Self:
        around = _around.get()
        if around is not None:
            self.begin(around)
            self._token = _around.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _around.reset(self._token)
            self.end(kind.__name__ if kind is not None else None)

    def begin(self, around: "Sketch | span") -> None:
        """Start the note below what is going on around it."""
        if isinstance(around, span):
            self.parent, sketch = around, around.sketch
        else:
            sketch = around
        self.started_ns = time.monotonic_ns()
        if sketch is not None and sketch.add(self):
            self.sketch = sketch

    def end(self, error: str | None = None) -> None:
        """End it; *error* is the type of what went wrong."""
        self.ended_ns = time.monotonic_ns()
        self.error = error


_around: ContextVar[Sketch | span | None] = ContextVar("telemed_around", default=None)


def around() -> Sketch | span | None:
    """Give what is going on here, if it is looked at."""
    return _around.get()


def look_at(sketch: Sketch | None) -> "Token[Sketch | span | None]":
    """Note from here on what is done in this context; end with `look_away`."""
    return _around.set(sketch)


def look_away(token: "Token[Sketch | span | None]") -> None:
    """End what `look_at` began."""
    _around.reset(token)
