"""What the code logs during a test, as a list; some events are failures wherever they occur."""

import contextlib
from collections.abc import Iterator
from typing import Any

import structlog

from telemed.kernel.telemetry.context import current_trace
from telemed.kernel.telemetry.logs import safe_traceback

# The OpenAPI document did not say what a client was told; a request ended in the last catch.
FORBIDDEN = frozenset({"problem.undeclared", "request.failed"})


class LoggedEvents:
    """The log of one test."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._expected: set[str] = set()

    def named(self, name: str) -> list[dict[str, Any]]:
        """Give the events of this name, in order."""
        return [event for event in self.all if event["event"] == name]

    def expect(self, name: str) -> None:
        """Say that this test provokes an event that would fail any other test."""
        self._expected.add(name)

    @property
    def offences(self) -> list[dict[str, Any]]:
        """Give the events that no test may cause without saying so."""
        return [event for event in self.all if event["event"] in FORBIDDEN - self._expected]

    def record(self, _logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Keep the event with its level and ids; structlog's last processor."""
        trace = current_trace.get()
        ids = {"request_id": trace.request_id, "trace_id": trace.trace_id} if trace else {}
        self.all.append({**event, **ids, "level": method})
        raise structlog.DropEvent


@contextlib.contextmanager
def recorded_events() -> Iterator[LoggedEvents]:
    """Record what is logged through structlog, and print nothing."""
    events = LoggedEvents()
    structlog.reset_defaults()
    structlog.configure(
        processors=[structlog.processors.ExceptionRenderer(safe_traceback), events.record],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    yield events
    structlog.reset_defaults()
