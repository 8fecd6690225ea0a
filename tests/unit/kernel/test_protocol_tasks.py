"""What the task of a request leaves behind: no place that it held, and nothing for the garbage collector."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from telemed.kernel.http.admission import Admission, held_place
from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.protocol import BoundedHttpProtocol
from telemed.kernel.priority import Priority
from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.metrics import Metrics


async def test_a_task_that_is_cancelled_before_it_begins_holds_no_place() -> None:
    """Its client has gone in the same moment; the edge, which gives places back, never sees the request."""
    admission = Admission(limit=1, lateness_seconds=lambda: 0.0, metrics=Metrics())
    scope: dict[str, Any] = {}
    admission.hold(scope, Priority.BROWSING)
    assert admission.is_closed_to(Priority.BROWSING)
    begun = []

    async def run_asgi(_app: object) -> None:
        begun.append(True)

    task = started(Cycle(scope, run_asgi))
    task.cancel()
    await asyncio.wait({task})

    assert not begun
    assert held_place(scope) is not None
    assert not admission.is_closed_to(Priority.BROWSING)


async def test_what_served_a_request_is_freed_at_once() -> None:
    """The way back holds the request; if the request held the way back, each would wait for the garbage collector."""

    async def run_asgi(_app: object) -> None:
        Exchange(scope, nothing, nothing, trace=trace, consistency=Consistency(), max_body_bytes=1)

    async def nothing(*_: object) -> Any:
        raise AssertionError

    trace = begin_trace(traceparent=None, request_id=None)
    scope: dict[str, Any] = {"method": "GET", "headers": []}
    cycle = Cycle(scope, run_asgi)
    gc.disable()
    try:
        await started(cycle)
        await asyncio.sleep(0)
        left = weakref.ref(cycle)
        del cycle
        assert left() is None
    finally:
        gc.enable()


class Cycle:
    """What the protocol starts tasks of uvicorn's cycles for."""

    def __init__(self, scope: dict[str, Any], run_asgi: Callable[[object], Awaitable[None]]) -> None:
        self.scope = scope
        self.run_asgi = run_asgi


def started(cycle: Any) -> "asyncio.Task[None]":
    """Have a connection serve it."""
    protocol = BoundedHttpProtocol.__new__(BoundedHttpProtocol)
    protocol.loop, protocol.tasks = asyncio.get_running_loop(), set()
    protocol.start_task(cycle, None)
    (task,) = protocol.tasks
    return task
