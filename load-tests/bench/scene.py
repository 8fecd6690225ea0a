"""What the benchmarks of one run share: the servers, the data sets, and how long each of them takes."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.support.platform import TelemedProcess

from bench.collector import collector
from bench.stage import LIKE_IN_LIFE, Ground, Servers, asking_cores, fill, pin, place, serve_pinned, servers_up
from bench.wishes import Wishes


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    small: int = 10_000  # slots
    big: int = 1_000_000
    groups: int = 3  # of processes
    rounds: int = 4  # of each figure, in turn with its floor
    seconds: float = 2.0  # of a round
    warm_seconds: float = 3.0
    steady_seconds: float = 10.0  # as long as a page of search is fresh (SEARCH_FRESH_SECONDS)
    bookings: int = 1_600  # of a round over HTTP
    floor_bookings: int = 6_400  # of a round of pgbench
    # Of each size: the first second after a checkpoint logs whole pages. Not more, as each adds a slot to the few.
    growth_bookings: int = 3_200
    stampedes: int = 4
    storm_seconds: float = 12.0
    same: bool = False  # everything off on both sides: what a comparison of two processes is worth


# To see that everything works, not to learn anything.
TINY = Size(
    small=1_000,
    big=2_000,
    groups=1,
    rounds=1,
    seconds=1.0,
    bookings=64,
    floor_bookings=64,
    growth_bookings=64,
    stampedes=1,
    storm_seconds=3.0,
    warm_seconds=1.0,
    steady_seconds=1.0,
)


class Bench:
    """One run."""

    def __init__(self, up: Servers, size: Size, stack: AsyncExitStack) -> None:
        self.up = up
        self.size = size
        self._stack = stack
        self._grounds: dict[int, Ground] = {}
        self._wishes: dict[str, Wishes] = {}
        self._collector: str | None = None  # its address

    async def small(self) -> Ground:
        """Give the platform with few slots."""
        return await self._ground(self.size.small)

    async def big(self) -> Ground:
        """Give the platform with many slots; filling it takes a minute for each million."""
        return await self._ground(self.size.big)

    async def serve(self, lent: Ground, name: str, **settings: str) -> TelemedProcess:
        """Start a service with everything on, alone on the core of who is measured.

        That is metrics, admission, request ids, JSON logs to a file, and a tenth of the requests traced and sent to a
        collector (a small one of our own that takes them).
        """
        if self._collector is None:
            self._collector = await self._stack.enter_async_context(collector())
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": self._collector, "TRACE_SAMPLE_RATIO": "0.1"}
        return await serve_pinned(lent.running, name, **on, **settings)

    async def wishes(self, lent: Ground) -> Wishes:
        """Give the wishes of this platform: one set for all benchmarks, as each wish comes true once."""
        if lent.database.name not in self._wishes:
            made = await Wishes.of(lent)
            self._stack.push_async_callback(made.close)
            self._wishes[lent.database.name] = made
        return self._wishes[lent.database.name]

    async def _ground(self, slots: int) -> Ground:
        if slots not in self._grounds:
            lent = await self._stack.enter_async_context(place(self.up, number=len(self._grounds), **LIKE_IN_LIFE))
            print(f"loading {slots:,} slots …", flush=True)
            await fill(lent, slots)
            self._grounds[slots] = lent
        return self._grounds[slots]


@asynccontextmanager
async def begun(size: Size) -> AsyncIterator[Bench]:
    """Start the servers of a run; whoever asks stays on the cores of those who ask."""
    async with servers_up() as up, AsyncExitStack() as stack:
        pin(os.getpid(), asking_cores())
        yield Bench(up, size, stack)
