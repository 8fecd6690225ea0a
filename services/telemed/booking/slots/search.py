"""Search: what is open, from the shelf if possible, from the database if not."""

from datetime import timedelta
from functools import partial

from telemed.booking.slots.cards import candidates
from telemed.booking.slots.openings import Openings
from telemed.booking.slots.pages import SlotPage
from telemed.booking.slots.recall import Recall
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import SlotShelf, page_key
from telemed.kernel.cache.aside import CacheAside, Loaded
from telemed.kernel.direct import Direct
from telemed.kernel.http.express import Recalled
from telemed.kernel.paging import Cursor
from telemed.kernel.resources import Resources


class SlotSearch:
    """Finds open slots; the answer is a page's bytes and its age."""

    def __init__(self, resources: Resources, shelf: SlotShelf) -> None:
        self._reads = resources.reads
        self._clock = resources.clock
        self._shelf = shelf
        self._openings = Openings()
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

    async def find(self, query: SearchSlots, *, asked: bytes) -> tuple[bytes, timedelta | None]:
        """Give the page as JSON; its age too, when the primary could not be asked and an older state had to do.

        *asked* is the query string that *query* was read from.

        Raises:
            InvalidRequest: the cursor is not one of ours.
        """
        after = Cursor.decode(query.cursor)
        # A page holds more than it shows, so that it stays full while its slots are being booked.
        spare = max(20, query.limit)

        key, doings = page_key(query), self._shelf.doings

        async def load(version: str | None) -> Loaded[SlotPage]:
            served = await self._reads.read_directly(
                lambda direct: self._load(direct, query, after, query.limit + spare),
                await self._shelf.required(key, version),
            )
            return Loaded(served.value, served.age)

        found = await self._pages.get(key, load)
        page = self._shelf.hide_gone_here(found.value)
        body = page.render(query.limit)
        if found.rescued or self._reads.is_primary_gone:
            return body, found.age
        self._recall.keep(asked, query, page, body, doings=doings)
        return body, None

    async def _load(self, direct: Direct, query: SearchSlots, after: Cursor | None, wanted: int) -> SlotPage:
        found = await self._openings.find(direct, query, now=self._clock.now(), after=after, limit=wanted + 1)
        return SlotPage(candidates(found[:wanted]), has_more=len(found) > wanted)
