"""Pages of open slots, kept in Redis and corrected at every look.

A page is loaded with more slots than it shows. Notes correct it without throwing it away:

* *gone*: the slots that were booked or withdrawn, as `id/version`; whoever reads a page leaves them out. A booking
  therefore costs no page, and hits stay hits while bookings run. The version says which opening of the slot is
  gone: one that is cancelled and opens again has a new version, so no note has to be taken back.
* *state*: a random word per scope, replaced whenever openings of it disappear. While it and the generation are what
  they were, so is every answer that was made of them (`recall.py`).
* *generation*: a random word per scope (a doctor, a specialization, everything), with the place in the write-ahead
  log where it began. Whatever adds slots (publishing, a cancellation, a changed entry) replaces it; pages of another
  generation are loaded anew, from a source that has come at least to that place.

All notes are written after the commit and before the reply, so a slot is gone from search, or back in it, when the
client hears of it. What a dead process could not write, the outbox does. Redis may lose any of it at any moment:
without a generation, pages are void; a set of gone notes has a mark from its beginning, and one without it has lost
something, so a new generation begins; and where this process has seen Redis fail, pages from before are not trusted.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Protocol
from uuid import UUID

from telemed.booking.slots import stored
from telemed.booking.slots.keys import (
    GONE_WINDOW,
    generation_key,
    gone_key,
    scope_in,
    scopes_of_slots,
    state_key,
    state_keys,
    window_of,
)
from telemed.booking.slots.pages import SlotPage, Standing, State, opening_name
from telemed.booking.slots.questions import (
    MARK,
    ask_gone,
    begin_generation,
    expiry,
    read_page,
    set_word,
    store_page,
)
from telemed.kernel.cache.aside import Entry, Lookup
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Command
from telemed.kernel.cache.shared import SharedQuestions
from telemed.kernel.clock import Clock
from telemed.kernel.gathering import Gathering
from telemed.kernel.replication.positions import WalPosition
from telemed.kernel.replication.reads import Reads
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("search")
# Clocks of processes differ by less. If one differs by more, its notes may be overlooked around the end of a window.
_CLOCKS_AGREE_WITHIN = timedelta(seconds=30)
_BEGUN = re.compile(r"@([0-9a-f]{1,8})-([0-9a-f]{1,16})$")  # where in the write-ahead log a generation began


@dataclass(frozen=True, slots=True)
class GoneSlot:
    """One opening of a slot that nobody can book any more."""

    slot_id: UUID
    version: int
    doctor_id: UUID
    specialization: str

    @property
    def name(self) -> str:
        """How notes and pages name it."""
        return opening_name(self.slot_id, self.version)


class SlotChange(Protocol):
    """What an operation says of the slots that it gave away or took back."""

    @property
    def gone(self) -> GoneSlot | None:
        """The opening that nobody can book any more."""
        ...

    @property
    def back(self) -> GoneSlot | None:
        """The opening before the one that can be booked now."""
        ...


class SlotShelf:
    """The store behind the search's cache, and the place where bookings tell it what changed."""

    def __init__(self, cache: Cache, clock: Clock, reads: Reads) -> None:
        self._cache = cache
        self._clock = clock
        self._reads = reads
        # What this very process made disappear, so that its own answers are right even while Redis is away.
        self._gone_here: dict[str, datetime] = {}
        self._doings = 0
        self._notes = Gathering(self._write_notes)
        self._questions = SharedQuestions(cache)

    async def note_change(self, change: SlotChange) -> None:
        """Tell search what an acknowledged change did; a Redis that does not answer is passed over."""
        if change.gone is not None:
            with _passed_over():
                await self.write_gone([change.gone])
        # Also when that failed: in a cluster it may be only for pages that are elsewhere.
        if change.back is not None:
            await self.renew(change.back.doctor_id, change.back.specialization)

    async def write_gone(self, gone: Iterable[GoneSlot]) -> None:
        """Make openings disappear.

        Raises:
            CacheUnavailable: other processes do not know yet.
        """
        noted = list(gone)
        self._remember(noted, self._clock.now())
        await self._notes.ask(noted)

    async def _write_notes(self, noted: Sequence[Sequence[GoneSlot]]) -> list[None]:
        now = self._clock.now()
        members: dict[str, set[str]] = {}
        for one in chain.from_iterable(noted):
            for scope in scopes_of_slots(one.doctor_id, one.specialization):
                members.setdefault(scope, set()).add(one.name)

        keys = {scope: gone_key(scope, window_of(now)) for scope in members}
        # The word after the note: who has read the new word finds the note as well.
        parts = {
            key: [
                ("SADD", key, *members[scope]),
                expiry(key),
                set_word(state_key(scope), secrets.token_hex(8)),
            ]
            for scope, key in keys.items()
        }
        await self._cache.run_all(parts, urgent=True)
        return [None] * len(noted)

    async def renew(self, doctor_id: UUID, *specializations: str) -> None:
        """Void the pages in which the doctor's slots are, or are to be; a Redis that does not answer is passed over."""
        with _passed_over():
            await self.write_renewal(doctor_id, *specializations)

    async def write_renewal(self, doctor_id: UUID, *specializations: str) -> None:
        """Void the pages in which the doctor's slots are, or are to be.

        Raises:
            CacheUnavailable: other processes do not know yet.
        """
        generation = await self._new_generation()

        keys = [generation_key(scope) for scope in scopes_of_slots(doctor_id, *specializations)]
        await self._cache.run_all({key: [set_word(key, generation)] for key in keys}, urgent=True)

    async def fetch(self, key: str) -> Lookup[SlotPage]:
        """Look a page up, without the slots that are gone; invalid if its generation is over or it has run dry."""
        scope = scope_in(key)
        window = window_of(self._clock.now())
        notes_key = gone_key(scope, window)
        raw, state = await read_page(self._questions, key, *state_keys(scope), notes_key)
        generation = state[0].decode() if state is not None else await self._begin_generation(scope)
        known = self._read(raw, key) if raw is not None else None
        if known is None:
            return Lookup(None, generation, state)
        page, loaded_at, made_for = known
        now = self._clock.now()
        notes = await self._notes_about(page, scope, now, since=loaded_at)
        left = page.without(notes.gone, now=now)
        is_trusted = loaded_at > self._cache.doubted_at(key) and notes.are_complete_since(loaded_at)
        is_valid = made_for == generation and is_trusted and not left.is_dry
        if is_valid and state is not None and notes.now is not None:
            left = replace(left, standing=Standing(state, window, loaded_at))
        return Lookup(Entry(left, loaded_at, is_valid), generation, state)

    async def keep(self, key: str, before: Lookup[SlotPage], entry: Entry[SlotPage], *, hard: timedelta) -> SlotPage:
        """Store a page that was loaded after the look-up *before*, and `correct` it at once."""
        raw = stored.written(key, before.version, entry)
        store: Command = ("SET", key, raw, "PX", int(hard.total_seconds() * 1000))
        if before.state is None or self._reads.replicas:
            return await self._corrected(key, entry.value, entry.loaded_at, first=store)
        # The primary had everything that was noted before the look-up, so while the scope's words are what they were
        # then, there is nothing to correct; to ask for each slot of the page costs more than all else here.
        words = state_keys(scope_in(key))
        if await store_page(self._questions, key, store, words) == before.state:
            return entry.value
        return await self._corrected(key, entry.value, entry.loaded_at)

    async def correct(self, key: str, value: SlotPage) -> SlotPage:
        """Leave out what has gone since the page was loaded."""
        return await self._corrected(key, value, self._clock.now() - GONE_WINDOW)

    async def _corrected(self, key: str, value: SlotPage, since: datetime, first: Command | None = None) -> SlotPage:
        now = self._clock.now()
        notes = await self._notes_about(value, scope_in(key), now, since=since, first=first)
        if not notes.are_complete_since(now):
            raise CacheUnavailable("notes were lost")
        return value.without(notes.gone, now=now)

    @property
    def doings(self) -> int:
        """Count what this process has made disappear: who remembers an answer looks whether it is still the same."""
        return self._doings

    async def judge_again(self, key: str, page: SlotPage, state: State) -> SlotPage | None:
        """Leave out of a page from this shelf what has gone since; None if it has to be fetched or loaded anew.

        *state* was read just now, and is of the page's generation.
        """
        standing = page.standing
        if standing is None or state[0] != standing.state[0]:
            return None
        now = self._clock.now()
        notes = await self._notes_about(page, scope_in(key), now, since=standing.loaded_at)
        left = page.without(notes.gone, now=now)
        is_trusted = standing.loaded_at > self._cache.doubted_at(key) and notes.are_complete_since(standing.loaded_at)
        if not is_trusted or left.is_dry:
            return None
        return replace(left, standing=replace(standing, state=state))

    def hide_gone_here(self, page: SlotPage) -> SlotPage:
        """Leave out what this process knows to be gone; for pages that did not pass `fetch`."""
        return page.without(self._gone_here.keys(), now=self._clock.now())

    async def required(self, key: str, before: Lookup[SlotPage] | None) -> WalPosition | None:
        """Say how far a replica must have come for a load after this look-up; None where there are no replicas.

        Without a generation, or while notes may have been lost, it must have everything there is now. That is after
        a failure of Redis until every replica that is asked at all has what happened meanwhile.
        """
        if not self._reads.replicas:
            return None
        last_failure = self._cache.failed_at(key)
        is_doubtful = last_failure is not None and self._clock.now() - last_failure < 2 * self._reads.max_lag
        begun = _BEGUN.search(before.version) if before is not None else None
        if is_doubtful or begun is None:
            return await self._reads.position()
        return WalPosition(int(begun[1], 16), int(begun[2], 16))

    async def _begin_generation(self, scope: str) -> str:
        wanted = await self._new_generation()
        key = generation_key(scope)
        window = window_of(self._clock.now())
        notes_keys = [gone_key(scope, begun) for begun in (window, window + 1)]
        await self._cache.run(key, lambda line: begin_generation(line, key, wanted, state_key(scope), notes_keys))
        return wanted

    async def _new_generation(self) -> str:
        word = secrets.token_hex(8)
        if not self._reads.replicas:
            return word
        begun = await self._reads.position()
        return f"{word}@{begun.timeline:x}-{begun.lsn:x}"

    async def _notes_about(
        self,
        page: SlotPage,
        scope: str,
        now: datetime,
        *,
        since: datetime,
        first: Command | None = None,
    ) -> "_Notes":
        """Read what is noted of the page; *first* is what Redis is to do before, in the same question."""
        openings = page.openings
        if not openings and first is None:
            return _Notes(set(), frozenset())
        # What was noted before *since* is not in the page, unless a replica had not heard of it.
        begun = since - self._reads.max_lag - _CLOCKS_AGREE_WITHIN
        windows = range(window_of(begun), window_of(now + _CLOCKS_AGREE_WITHIN) + 1)
        keys = [gone_key(scope, window) for window in windows]
        answers = await ask_gone(self._questions, keys, [*openings, MARK], first)
        gone, marked = {opening for opening in openings if opening in self._gone_here}, set()
        for window, flags in zip(windows, answers, strict=True):
            if not isinstance(flags, list) or len(flags) != len(openings) + 1:
                self._cache.distrust(keys[0], "not an answer to SMISMEMBER")
                raise CacheUnavailable("garbage")
            gone.update(opening for opening, is_gone in zip(openings, flags, strict=False) if is_gone)
            if flags[-1]:
                marked.add(window)
        return _Notes(gone, frozenset(marked), now)

    def _read(self, raw: bytes, key: str) -> stored.StoredPage | None:
        """Read a page; what is not what its key says counts as absent, and its server as doubtful."""
        try:
            return stored.read(raw, key)
        except stored.NotThePage as error:
            self._cache.distrust(key, str(error))
            return None

    def _remember(self, gone: Iterable[GoneSlot], now: datetime) -> None:
        self._doings += 1
        forget_before = now - GONE_WINDOW
        while self._gone_here:
            oldest = next(iter(self._gone_here))  # dicts keep the order of insertion
            if self._gone_here[oldest] > forget_before:
                break
            del self._gone_here[oldest]
        self._gone_here.update({one.name: now for one in gone})


@contextmanager
def _passed_over() -> Iterator[None]:
    try:
        yield
    except CacheUnavailable as error:
        # Until the outbox has said it again, others may show what is gone: worth knowing when somebody wonders.
        log.warning("search.note_lost", error=str(error))


@dataclass(frozen=True, slots=True)
class _Notes:
    """The openings that are gone, and of which windows all notes are still there."""

    gone: set[str]
    marked: frozenset[int]
    now: datetime | None = None

    def are_complete_since(self, loaded_at: datetime) -> bool:
        """Tell whether nothing was lost of what was noted since then; always when nothing had to be asked."""
        return self.now is None or {window_of(loaded_at), window_of(self.now)} <= self.marked
