"""A request that was let in gives its place back, however early its task ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

from telemed.kernel.http.admission import Admission, held_place
from telemed.kernel.http.protocol import BoundedHttpProtocol
from telemed.kernel.priority import Priority
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

    protocol = BoundedHttpProtocol.__new__(BoundedHttpProtocol)
    protocol.loop, protocol.tasks = asyncio.get_running_loop(), set()
    cycle: Any = SimpleNamespace(scope=scope, run_asgi=run_asgi)
    protocol.start_task(cycle, None)
    (task,) = protocol.tasks
    task.cancel()
    await asyncio.wait({task})

    assert not begun
    assert held_place(scope) is not None
    assert not admission.is_closed_to(Priority.BROWSING)
