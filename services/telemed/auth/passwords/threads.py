"""The threads on which passwords are hashed, and the short queue in front of them.

A hash takes a core for a quarter of a second. On the event loop it would stop every other request; in a pool that
competes at equal priority a storm of logins would slow all reads a thousandfold.
"""

import asyncio
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import ParamSpec, TypeVar

from prometheus_client import Gauge, Histogram

from telemed.kernel.deadline import time_left
from telemed.kernel.problems import Overloaded
from telemed.kernel.telemetry.spans import span

P = ParamSpec("P")
T = TypeVar("T")

NICENESS = 19  # the scheduler's lowest: hashing gets what nobody else wants
# <sys/resource.h> on macOS; Python names them from 3.12 on only.
_DARWIN_THREAD, _DARWIN_BACKGROUND = 3, 0x1000
# How much a new measurement counts against what is known of the duration of a hash.
_NEWS = 0.2


class HashingThreads:
    """Runs slow functions on few threads of low priority; refuses what would have to wait too long."""

    def __init__(self, *, threads: int, queue: int, queue_length: Gauge, duration: Histogram) -> None:
        self._threads = threads
        self._queue = queue
        self._queue_length = queue_length
        self._duration = duration
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_step_back)
        self._free = asyncio.Semaphore(threads)
        self._held = 0
        self._seconds = 0.0

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place, running or waiting, until the context ends, however it ends.

        Taken before anything is written about the request, so that a refusal leaves nothing behind.

        Raises:
            Overloaded: every place is held, or the turn would come after the request's deadline; says when to try.
        """
        if self._held >= self._threads + self._queue or self._seconds_to_wait() >= time_left():
            raise Overloaded("Too many people are logging in; try again shortly.", retry_after=self._expected_wait())
        self._move(1)
        try:
            yield
        finally:
            self._move(-1)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function on one of the threads as soon as one is free; call it while holding a place."""
        with span("password.wait"):
            await self._free.acquire()
        try:
            future: Future[T] = self._executor.submit(self._timed, partial(function, *args, **kwargs))
        except BaseException:
            self._free.release()
            raise
        # The thread is free when the function has ended, and not already when its caller has gone away.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: self._release(loop))
        with span("password.hash"):
            return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Let what runs finish, drop what waits."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    def _timed(self, function: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - started
        self._duration.observe(seconds)
        self._seconds = seconds if self._seconds == 0.0 else self._seconds + _NEWS * (seconds - self._seconds)
        return result

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(self._free.release)

    def _expected_wait(self) -> timedelta:
        return timedelta(seconds=max(1, math.ceil(self._seconds_to_wait())))

    def _seconds_to_wait(self) -> float:
        return self._held * self._seconds / self._threads

    def _move(self, by: int) -> None:
        self._held += by
        self._queue_length.set(max(0, self._held - self._threads))


def _step_back() -> None:
    """Give the calling thread the lowest priority. Best effort: without it logins compete, but they work."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # Linux: of the thread alone
        elif sys.platform == "darwin":
            os.setpriority(_DARWIN_THREAD, 0, _DARWIN_BACKGROUND)
