"""Search: what is open, from the shelf if possible, from the database if not."""

from datetime import timedelta
from functools import partial

from telemed.booking.slots.keys import page_key
from telemed.booking.slots.loads import PageLoads
from telemed.booking.slots.pages import SlotPage
from telemed.booking.slots.recall import Recall
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import SlotShelf
from telemed.kernel.cache.aside import CacheAside, Loaded, Lookup
from telemed.kernel.cache.breaker import OPENS_AFTER
from telemed.kernel.http.express import Recalled
from telemed.kernel.paging import Cursor
from telemed.kernel.resources import Resources

# How many searches a process has under way at most while Redis is gone and each of them is a load, for each connection
# that loads may take: so who is let in is answered in some 20 ms, under load 50, and the rest is told at once. With two
# and four times as many those wait that much longer, and no more of them are answered.
_ROOM_FOR_EACH = 10


class SlotSearch:
    """Finds open slots; the answer is a page's bytes and its age."""

    def __init__(self, resources: Resources, shelf: SlotShelf) -> None:
        self._reads = resources.reads
        self._clock = resources.clock
        self._shelf = shelf
        self._loads = PageLoads(resources)
        self._loads_without_redis = 0  # in a row
        fresh_for = timedelta(seconds=resources.settings.search_fresh_seconds)
        self._pages = CacheAside(
            "slot_search",
            shelf,
            fresh_for=fresh_for,
            stale_for=timedelta(seconds=resources.settings.search_stale_seconds),
            clock=resources.clock,
            metrics=resources.metrics,
        )
        self._recall = Recall(resources, shelf, fresh_for=fresh_for, refresh_due_at=self._pages.refresh_due_at)

    def known(self, asked: bytes) -> Recalled | None:
        """Give the way to the last answer to this query string, if there is one (kernel/http/express.py)."""
        answer = self._recall.knows(asked)
        return partial(self._recall.ask, answer) if answer is not None else None

    def room(self) -> int | None:
        """Give how many searches may be under way at most just now; None while Redis bears them."""
        # As many failures as make others believe that it is gone; one may be a hiccup.
        return None if self._loads_without_redis < OPENS_AFTER else _ROOM_FOR_EACH * self._loads.at_once

    async def find(self, query: SearchSlots, *, asked: bytes) -> tuple[bytes, timedelta | None]:
        """Give the page as JSON; its age too, when the primary could not be asked and an older state had to do.

        *asked* is the query string that *query* was read from.

        Raises:
            InvalidRequest: the cursor is not one of ours.
            Overloaded: too many loads are waiting, and there is no old page to give.
        """
        after = Cursor.decode(query.cursor)
        key, doings = page_key(query), self._shelf.doings

        async def load(before: Lookup[SlotPage] | None) -> Loaded[SlotPage]:
            self._loads_without_redis = self._loads_without_redis + 1 if before is None else 0
            at_least = await self._shelf.required(key, before)
            return await self._loads.load(query, after=after, spare=_spare(query.limit, before), at_least=at_least)

        found = await self._pages.get(key, load)
        page = self._shelf.hide_gone_here(found.value)
        body = page.render()
        if found.rescued or self._reads.is_primary_gone:
            return body, found.age
        self._recall.keep(asked, query, page, body, doings=doings)
        return body, None


def _spare(limit: int, before: Lookup[SlotPage] | None) -> int:
    """Say how many slots more than it shows a page is loaded with, so that it stays full while they are booked.

    Most pages are asked for once in their time, and each slot costs its load, its JSON and its room in Redis. One that
    is loaded while Redis has it is asked for more often: it ran dry, was voided or has grown old.
    """
    if before is None:  # it will be kept nowhere
        return 0
    return max(5, limit // 4) if before.entry is None else max(20, limit)
