"""Pages of search as the database has them now; those who ask by the same index ask it together.

A page costs the database less than it costs this process to ask: a connection, a packet there and one back. Searches
that come while one of their kind is under way share the next statement (`kernel/gathering.py`), so that under load ten
of them cost little more than one. Who comes alone waits for nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, TypeVar

from telemed.booking.slots import by_time
from telemed.booking.slots.by_time import Kind, Question
from telemed.booking.slots.cards import Found
from telemed.booking.slots.openings import Openings, Way
from telemed.booking.slots.pages import SlotPage
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.cache.aside import Loaded
from telemed.kernel.direct import Direct
from telemed.kernel.gathering import Gathering
from telemed.kernel.paging import Cursor
from telemed.kernel.problems import Overloaded
from telemed.kernel.replication.positions import WalPosition, furthest
from telemed.kernel.replication.replicas import Served
from telemed.kernel.resources import Resources

T = TypeVar("T")
# A page is up to a hundred rows; to read those of so many takes the event loop a few milliseconds.
_PAGES_AT_ONCE = 16


class _Asked(NamedTuple):
    question: Question
    at_least: WalPosition | None


class PageLoads:
    """Loads pages, with half of the connections at most: bookings would wait behind every search otherwise."""

    def __init__(self, resources: Resources) -> None:
        self._reads = resources.reads
        self._clock = resources.clock
        self._openings = Openings()
        self.at_once = max(1, resources.settings.database_pool_size // 2)
        self._free = asyncio.Semaphore(self.at_once)
        self._wait_at_most_seconds = resources.settings.database_pool_timeout_seconds
        # A slow kind holds up only its own.
        self._together: dict[Kind, Gathering[_Asked, Served[Found]]] = {
            kind: Gathering(partial(self._find, kind), at_once=_PAGES_AT_ONCE) for kind in Kind
        }

    async def load(
        self, query: SearchSlots, *, after: Cursor | None, spare: int, at_least: WalPosition | None
    ) -> Loaded[SlotPage]:
        """Load a page with so many slots to *spare*, from a state that has *at_least* everything up to there.

        Raises:
            Overloaded: too many loads are waiting.
            As `Reads.read_directly`.
        """
        now, wanted = self._clock.now(), query.limit + spare
        way = self._openings.known_way(query, now=now)
        if way is Way.BY_TIME:
            question = by_time.asked(query, now=now, after=after, limit=wanted + 1)
            served = await self._together[by_time.kind_of(query)].ask(_Asked(question, at_least))
        else:
            # Doctors are counted, or gathered, for this one alone: who looks for others has no use for them.
            find = partial(self._openings.find, wanted=query, now=now, after=after, limit=wanted + 1)
            served = await self._read(find, at_least)
        found = served.value
        page = SlotPage(
            found.openings[:wanted], found.cards[:wanted], has_more=len(found.openings) > wanted, limit=query.limit
        )
        return Loaded(page, served.age)

    async def _find(self, kind: Kind, many: Sequence[_Asked]) -> list[Served[Found]]:
        questions = [one.question for one in many]
        at_least = furthest(one.at_least for one in many if one.at_least is not None)
        served = await self._read(lambda direct: by_time.found_for(direct, kind, questions), at_least)
        return [Served(found, served.age) for found in served.value]

    async def _read(self, find: Callable[[Direct], Awaitable[T]], at_least: WalPosition | None) -> Served[T]:
        async with self._turn():
            return await self._reads.read_directly(find, at_least)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_at_most_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise Overloaded from error
        try:
            yield
        finally:
            self._free.release()
