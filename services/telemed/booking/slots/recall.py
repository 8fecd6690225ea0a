"""Answers of search that are given again while Redis says that nothing has changed.

Whoever asks what was asked before need not have the page fetched, parsed, corrected and rendered again. This process
keeps the bytes of its last answers with what they were judged by, and asks Redis for two words of the query's scope:
its generation and its state (`shelf.py`). If both are what they were, so is the answer: any booking, withdrawal or
publication would have replaced one of them before it was acknowledged. In every case of doubt nothing is recalled, and
the ordinary way answers. The two words are asked anew for every answer; nothing is believed for a while.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import SlotPage, SlotShelf, page_key, scope_of, state_keys, window_ends_at
from telemed.kernel.cache.gathered import Gathered, Values
from telemed.kernel.resources import Resources

_ROOM_BYTES = 16 * 2**20
_MAX_QUERY_BYTES = 512  # longer ones are rare, and would let somebody fill the memory with keys


# Of a page that is due to be refreshed: so often does one request take the ordinary way, which sees to it.
_TRIES_EVERY = timedelta(seconds=0.1)


@dataclass(slots=True)
class Answer:
    """What was answered, and for how long it may be answered again at most."""

    body: bytes
    page_key: str
    keys: tuple[str, str]
    state: tuple[bytes, bytes]
    doings: int  # of this process, when it was made
    loaded_at: datetime
    valid_until: datetime
    refresh_from: datetime


class Recall:
    """The last answers of one process, by the query as it was sent."""

    def __init__(self, resources: Resources, shelf: SlotShelf, *, fresh_for: timedelta) -> None:
        self._cache = resources.cache
        self._shelf = shelf
        self._reads = resources.reads
        self._clock = resources.clock
        self._fresh_for = fresh_for
        self._hits = resources.metrics.cache.labels("slot_search", "hit")
        self._gathered = Gathered(resources.cache)
        self._answers: dict[bytes, Answer] = {}
        self._kept_bytes = 0

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

    def ask(self, answer: Answer, then: Callable[[bytes | None], None]) -> None:
        """Find out whether nothing has changed since; give *then* the body, or None, also when nobody can tell."""

        def judge(state: Values | None) -> None:
            # When the words are there: this process may have seen Redis fail, or have booked, while they came.
            holds = (
                state == answer.state
                and self._shelf.doings == answer.doings
                and answer.loaded_at > self._cache.doubted_at(answer.page_key)
                and self._clock.now() < answer.valid_until
                and not self._reads.is_primary_gone
            )
            if holds:
                self._hits.inc()
            then(answer.body if holds else None)

        self._gathered.ask(answer.keys, judge)

    def keep(self, asked: bytes, query: SearchSlots, page: SlotPage, body: bytes, *, doings: int) -> None:
        """Remember what a page from the shelf was rendered to; *doings* were counted before it was looked at."""
        standing = page.standing
        if standing is None or not page.candidates or len(asked) > _MAX_QUERY_BYTES:
            return
        valid_until = min(
            standing.loaded_at + self._fresh_for,
            page.candidates[0].starts_at,
            window_ends_at(standing.window),
        )
        self._forget(asked)
        self._answers[asked] = Answer(
            body=body,
            page_key=page_key(query),
            keys=state_keys(scope_of(query)),
            state=standing.state,
            doings=doings,
            loaded_at=standing.loaded_at,
            valid_until=valid_until,
            # The earliest age at which the ordinary way has a page refreshed (cache/aside.py).
            refresh_from=standing.loaded_at + self._fresh_for * 0.8,
        )
        self._kept_bytes += len(body) + len(asked)
        while self._kept_bytes > _ROOM_BYTES:
            self._forget(next(iter(self._answers)))

    def _forget(self, asked: bytes) -> None:
        answer = self._answers.pop(asked, None)
        if answer is not None:
            self._kept_bytes -= len(answer.body) + len(asked)
