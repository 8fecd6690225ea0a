"""Answers of search that are given again while Redis says that nothing has changed.

Whoever asks what was asked before need not have the page fetched, parsed, corrected and rendered again. This process
keeps the bytes of its last answers with what they were judged by, and asks Redis for two words of the query's scope:
its generation and its state (`shelf.py`). If both are what they were, so is the answer: any booking, withdrawal or
publication would have replaced one of them before it was acknowledged. If only the state is another, some of the slots
may be gone: the page is judged again and rendered again. In every other case nothing is recalled, and the ordinary way
answers. The two words are asked anew for every answer; nothing is believed for a while.
"""

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from telemed.booking.slots.keys import page_key, scope_of, state_keys, window_ends_at
from telemed.booking.slots.pages import SlotPage, State
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import SlotShelf
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.cache.gathered import Gathered, Values
from telemed.kernel.resources import Resources

_ROOM_BYTES = 64 * 2**20
# What a kept page takes beside the bytes of its answer: the JSON of each of its slots, and the name.
_SLOT_BYTES = 600
_MAX_QUERY_BYTES = 512  # longer ones are rare, and would let somebody fill the memory with keys
# Of a page that is due to be refreshed: so often does one request take the ordinary way, which sees to it. The second
# one finds the new page, unless loading is slow.
_TRIES_EVERY = timedelta(seconds=0.1)

Then = Callable[[bytes | None], None]


@dataclass(slots=True)
class Answer:
    """What was answered to a query string, and for how long it may be answered again at most."""

    asked: bytes
    page: SlotPage
    body: bytes
    page_key: str
    keys: tuple[str, str]
    state: State
    doings: int  # of this process, when it was made
    loaded_at: datetime
    valid_until: datetime
    refresh_from: datetime

    @property
    def size_bytes(self) -> int:
        """Estimate the memory that it takes."""
        return len(self.asked) + len(self.body) + _SLOT_BYTES * len(self.page)


class Recall:
    """The last answers of one process, by the query as it was sent."""

    def __init__(
        self,
        resources: Resources,
        shelf: SlotShelf,
        *,
        fresh_for: timedelta,
        refresh_due_at: Callable[[str, datetime], datetime],
    ) -> None:
        self._cache = resources.cache
        self._shelf = shelf
        self._reads = resources.reads
        self._clock = resources.clock
        self._fresh_for = fresh_for
        self._refresh_due_at = refresh_due_at
        self._hits = resources.metrics.cache.labels("slot_search", "hit")
        self._gathered = Gathered(resources.cache)
        self._answers: dict[bytes, Answer] = {}
        self._kept_bytes = 0
        # Corrections under way, by the answer's query and the state that they correct it to, with those who wait.
        self._corrections: dict[tuple[bytes, State], list[Then]] = {}
        self._correcting: set[asyncio.Task[None]] = set()

    def knows(self, asked: bytes) -> Answer | None:
        """Give the last answer to a query string, if there is one whose time is not over."""
        answer = self._answers.get(asked)
        if answer is None:
            return None
        now = self._clock.now()
        if now >= answer.valid_until:
            self._forget(asked)
            return None
        if now >= answer.refresh_from:
            answer.refresh_from = now + _TRIES_EVERY
            return None
        return answer

    def ask(self, answer: Answer, then: Then) -> None:
        """Find out what the answer is now; give *then* the body, or None when that is not to be told from here."""

        def judge(state: Values | None) -> None:
            # When the words are there: this process may have seen Redis fail, or have booked, while they came.
            if not self._may_still_be_given(answer) or state is None or state[0] is None or state[1] is None:
                then(None)
            elif state == answer.state and self._shelf.doings == answer.doings:
                self._hits.inc()
                then(answer.body)
            else:
                self._correct(answer, (state[0], state[1]), then)

        self._gathered.ask(answer.keys, judge)

    def keep(self, asked: bytes, query: SearchSlots, page: SlotPage, body: bytes, *, doings: int) -> None:
        """Remember what a page from the shelf was rendered to; *doings* were counted before it was looked at."""
        standing = page.standing
        if standing is None or not len(page) or len(asked) > _MAX_QUERY_BYTES:
            return
        key = page_key(query)
        self._remember(
            Answer(
                asked=asked,
                page=page,
                body=body,
                page_key=key,
                keys=state_keys(scope_of(query)),
                state=standing.state,
                doings=doings,
                loaded_at=standing.loaded_at,
                valid_until=min(standing.loaded_at + self._fresh_for, page.begins_at, window_ends_at(standing.window)),
                # Never at once: of an old page that is answered while it is refreshed, each request would come back.
                refresh_from=max(self._refresh_due_at(key, standing.loaded_at), self._clock.now() + _TRIES_EVERY),
            )
        )

    def _may_still_be_given(self, answer: Answer) -> bool:
        return (
            answer.loaded_at > self._cache.doubted_at(answer.page_key)
            and self._clock.now() < answer.valid_until
            and not self._reads.is_primary_gone
        )

    def _correct(self, answer: Answer, state: State, then: Then) -> None:
        """Leave out what is gone by now. Whoever has read the same state waits for the same correction."""
        name = answer.asked, state
        waiting = self._corrections.get(name)
        if waiting is not None:
            waiting.append(then)
            return
        self._corrections[name] = [then]
        # In a context of its own, as what is read for many.
        task = asyncio.get_running_loop().create_task(self._corrected(answer, state), context=contextvars.Context())
        self._correcting.add(task)
        task.add_done_callback(self._correcting.discard)

    async def _corrected(self, answer: Answer, state: State) -> None:
        body: bytes | None = None
        doings = self._shelf.doings
        try:
            page = await self._shelf.judge_again(answer.page_key, answer.page, state)
            if page is not None and len(page) and self._may_still_be_given(answer):
                body = page.render()
                # Until when it may be given stays: what is left begins no earlier than what was there.
                self._remember(replace(answer, page=page, body=body, state=state, doings=doings))
        except CacheUnavailable:
            pass  # the cache has noted it; the ordinary way answers without
        finally:
            for then in self._corrections.pop((answer.asked, state)):
                if body is not None:
                    self._hits.inc()
                then(body)

    def _remember(self, answer: Answer) -> None:
        self._forget(answer.asked)
        self._answers[answer.asked] = answer
        self._kept_bytes += answer.size_bytes
        while self._kept_bytes > _ROOM_BYTES:
            self._forget(next(iter(self._answers)))

    def _forget(self, asked: bytes) -> None:
        answer = self._answers.pop(asked, None)
        if answer is not None:
            self._kept_bytes -= answer.size_bytes
