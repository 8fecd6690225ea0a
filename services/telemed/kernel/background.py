"""Tasks that run beside everything else and end with their context."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_ASK_AGAIN_AFTER_SECONDS = 1.0


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *work* for as long as the context lasts; if it failed, its exception is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        # A library may swallow a cancellation that arrives together with a timeout of its own; then it is asked again.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_ASK_AGAIN_AFTER_SECONDS)
        if not task.cancelled():
            task.result()
