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

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Protocol
from uuid import UUID

from telemed.booking.slots.pages import Candidate, SlotPage, Standing, opening_name
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.cache.aside import Entry, Lookup
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Command, Line, first_refusal
from telemed.kernel.clock import Clock
from telemed.kernel.gathering import Gathering
from telemed.kernel.replication.positions import WalPosition
from telemed.kernel.replication.reads import Reads
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.text import rfc3339

log = get_logger("search")
_SCHEMA = 3  # of the stored pages; raise it when their form changes
# Longer than a page lives (240 s by default) plus the time to load one, so that no page outlives a note about it.
GONE_WINDOW = timedelta(seconds=300)
_GENERATION_LIVES = timedelta(days=1)
# Clocks of processes differ by less. If one differs by more, its notes may be overlooked around the end of a window.
_CLOCKS_AGREE_WITHIN = timedelta(seconds=30)
# A member of every set of gone notes from its beginning. No opening of a slot is called so.
_MARK = "complete"
_OPENING = re.compile(r"[0-9a-f]{32}/[0-9]+")
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


def scope_of(query: SearchSlots) -> str:
    """Give the narrowest scope that a query's slots lie in."""
    if query.doctor_id is not None:
        return f"doctor:{query.doctor_id.hex}"
    return _specialization_scope(query.specialization) if query.specialization is not None else "all"


def _specialization_scope(specialization: str) -> str:
    # Hashed: it is what somebody typed, and keys are no place for that.
    return "spec:" + hashlib.sha256(specialization.lower().encode()).hexdigest()[:16]


def _scopes(doctor_id: UUID, *specializations: str) -> list[str]:
    return ["all", f"doctor:{doctor_id.hex}", *{_specialization_scope(name) for name in specializations}]


def page_key(query: SearchSlots) -> str:
    """Give the key of a query's page; the braces keep what belongs to a scope on one node of a Redis cluster."""
    digest = hashlib.sha256(query.model_dump_json().encode()).hexdigest()[:32]
    return f"telemed:search:{{{scope_of(query)}}}:page:{_SCHEMA}:{digest}"


def state_keys(scope: str) -> tuple[str, str]:
    """Give the keys of a scope's generation and of its state word."""
    return _generation_key(scope), _state_key(scope)


def _scope_in(key: str) -> str:
    return key[key.index("{") + 1 : key.index("}")]


def _generation_key(scope: str) -> str:
    return f"telemed:search:{{{scope}}}:generation"


def _state_key(scope: str) -> str:
    return f"telemed:search:{{{scope}}}:state"


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

    async def note_change(self, change: SlotChange) -> None:
        """Tell search what an acknowledged change did; a Redis that does not answer is passed over."""
        with _passed_over():
            if change.gone is not None:
                await self.write_gone([change.gone])
            if change.back is not None:
                await self.write_renewal(change.back.doctor_id, change.back.specialization)

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
            for scope in _scopes(one.doctor_id, one.specialization):
                members.setdefault(scope, set()).add(one.name)

        keys = {scope: _gone_key(scope, _window(now)) for scope in members}
        # The word after the note: who has read the new word finds the note as well.
        parts = {
            key: [
                ("SADD", key, *members[scope]),
                _expiry(key),
                _set_word(_state_key(scope), secrets.token_hex(8)),
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

        keys = [_generation_key(scope) for scope in _scopes(doctor_id, *specializations)]
        await self._cache.run_all({key: [_set_word(key, generation)] for key in keys}, urgent=True)

    async def fetch(self, key: str) -> Lookup[SlotPage]:
        """Look a page up, without the slots that are gone; invalid if its generation is over or it has run dry."""
        scope = _scope_in(key)
        window = _window(self._clock.now())
        notes_key = _gone_key(scope, window)
        raw, state = await self._cache.run(key, lambda line: _read(line, key, *state_keys(scope), notes_key))
        generation = state[0].decode() if state is not None else await self._begin_generation(scope)
        stored = self._parse(raw, key) if raw is not None else None
        if stored is None:
            return Lookup(None, generation, state)
        page, loaded_at, made_for = stored
        now = self._clock.now()
        notes = await self._notes_about(page, scope, now, since=loaded_at)
        left = page.without(notes.gone, now=now)
        is_trusted = loaded_at > self._cache.doubted_at(key) and notes.are_complete_since(loaded_at)
        is_valid = made_for == generation and is_trusted and not left.is_dry(len(page.candidates))
        if is_valid and state is not None and notes.now is not None:
            left = replace(left, standing=Standing(state, window, loaded_at, loaded=len(page.candidates)))
        return Lookup(Entry(left, loaded_at, is_valid), generation, state)

    async def keep(self, key: str, before: Lookup[SlotPage], entry: Entry[SlotPage], *, hard: timedelta) -> SlotPage:
        """Store a page that was loaded after the look-up *before*, and `correct` it at once."""
        head = {
            "key": key,
            "generation": before.version,
            "loaded_at": entry.loaded_at.isoformat(),
            "has_more": entry.value.has_more,
            "candidates": [f"{c.opening} {rfc3339(c.starts_at)}" for c in entry.value.candidates],
        }
        # What is shown stands below, a slot to a line, as it is: JSON within JSON costs the most of all of this.
        raw = "\n".join((json.dumps(head), *(c.json for c in entry.value.candidates)))
        store: Command = ("SET", key, raw, "PX", int(hard.total_seconds() * 1000))
        if before.state is None or self._reads.replicas:
            return await self._corrected(key, entry.value, entry.loaded_at, first=store)
        # The primary had everything that was noted before the look-up, so while the scope's words are what they were
        # then, there is nothing to correct; to ask for each slot of the page costs more than all else here.
        words = state_keys(_scope_in(key))
        if await self._cache.run(key, lambda line: _store(line, store, words)) == before.state:
            return entry.value
        return await self._corrected(key, entry.value, entry.loaded_at)

    async def correct(self, key: str, value: SlotPage) -> SlotPage:
        """Leave out what has gone since the page was loaded."""
        return await self._corrected(key, value, self._clock.now() - GONE_WINDOW)

    async def _corrected(self, key: str, value: SlotPage, since: datetime, first: Command | None = None) -> SlotPage:
        now = self._clock.now()
        notes = await self._notes_about(value, _scope_in(key), now, since=since, first=first)
        if not notes.are_complete_since(now):
            raise CacheUnavailable("notes were lost")
        return value.without(notes.gone, now=now)

    @property
    def doings(self) -> int:
        """Count what this process has made disappear: who remembers an answer looks whether it is still the same."""
        return self._doings

    async def judge_again(self, key: str, page: SlotPage, state: tuple[bytes, bytes]) -> SlotPage | None:
        """Leave out of a page from this shelf what has gone since; None if it has to be fetched or loaded anew.

        *state* was read just now, and is of the page's generation.
        """
        standing = page.standing
        if standing is None or state[0] != standing.state[0]:
            return None
        now = self._clock.now()
        notes = await self._notes_about(page, _scope_in(key), now, since=standing.loaded_at)
        left = page.without(notes.gone, now=now)
        is_trusted = standing.loaded_at > self._cache.doubted_at(key) and notes.are_complete_since(standing.loaded_at)
        if not is_trusted or left.is_dry(standing.loaded):
            return None
        return replace(left, standing=replace(standing, state=state))

    def hide_gone_here(self, page: SlotPage) -> SlotPage:
        """Leave out what this process knows to be gone; for pages that did not pass `fetch`."""
        return page.without(self._gone_here, now=self._clock.now())

    async def required(self, key: str, version: str | None) -> WalPosition | None:
        """Say how far a replica must have come for this page of this generation; None where there are no replicas.

        Without a generation, or while notes may have been lost, it must have everything there is now. That is after
        a failure of Redis until every replica that is asked at all has what happened meanwhile.
        """
        if not self._reads.replicas:
            return None
        last_failure = self._cache.failed_at(key)
        is_doubtful = last_failure is not None and self._clock.now() - last_failure < 2 * self._reads.max_lag
        begun = _BEGUN.search(version or "")
        if is_doubtful or begun is None:
            return await self._reads.position()
        return WalPosition(int(begun[1], 16), int(begun[2], 16))

    async def _begin_generation(self, scope: str) -> str:
        wanted = await self._new_generation()
        key = _generation_key(scope)
        window = _window(self._clock.now())
        notes_keys = [_gone_key(scope, begun) for begun in (window, window + 1)]
        await self._cache.run(key, lambda line: _begin(line, key, wanted, _state_key(scope), notes_keys))
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
        openings = [candidate.opening for candidate in page.candidates]
        if not openings and first is None:
            return _Notes(set(), frozenset())
        # What was noted before *since* is not in the page, unless a replica had not heard of it.
        begun = since - self._reads.max_lag - _CLOCKS_AGREE_WITHIN
        windows = range(_window(begun), _window(now + _CLOCKS_AGREE_WITHIN) + 1)
        keys = [_gone_key(scope, window) for window in windows]
        answers = await self._cache.run(keys[0], lambda line: _ask_gone(line, keys, [*openings, _MARK], first))
        gone, marked = {opening for opening in openings if opening in self._gone_here}, set()
        for window, flags in zip(windows, answers, strict=True):
            if not isinstance(flags, list) or len(flags) != len(openings) + 1:
                self._cache.distrust(keys[0], "not an answer to SMISMEMBER")
                raise CacheUnavailable("garbage")
            gone.update(opening for opening, is_gone in zip(openings, flags, strict=False) if is_gone)
            if flags[-1]:
                marked.add(window)
        return _Notes(gone, frozenset(marked), now)

    def _parse(self, raw: bytes, key: str) -> tuple[SlotPage, datetime, str] | None:
        """Read a stored page; one that is not what its key says counts as absent: clients of Redis mixed up replies."""
        try:
            head, *cards = raw.decode().split("\n")
            stored = json.loads(head)
            if stored["key"] != key:
                self._cache.distrust(key, "another key's page")
                return None
            page = SlotPage(
                tuple(_candidate(named, card) for named, card in zip(stored["candidates"], cards, strict=True)),
                bool(stored["has_more"]),
            )
            return page, datetime.fromisoformat(stored["loaded_at"]), str(stored["generation"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._cache.distrust(key, "not a page")
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
        return self.now is None or {_window(loaded_at), _window(self.now)} <= self.marked


def _gone_key(scope: str, window: int) -> str:
    return f"telemed:search:{{{scope}}}:gone:{window}"


def window_ends_at(window: int) -> datetime:
    """Say when the next window of gone notes begins."""
    return datetime.fromtimestamp((window + 1) * GONE_WINDOW.total_seconds(), UTC)


def _window(at: datetime) -> int:
    return int(at.timestamp() // GONE_WINDOW.total_seconds())


def _candidate(named: str, card: str) -> Candidate:
    opening, _, starts_at = named.partition(" ")
    if not _OPENING.fullmatch(opening):
        raise ValueError("not an opening")
    return Candidate(opening, datetime.fromisoformat(starts_at), card)


async def _read(
    line: Line, key: str, generation_key: str, state_key: str, notes_key: str
) -> tuple[bytes | None, tuple[bytes, bytes] | None]:
    """Get a page, and its scope's generation and state word if the scope has both and all of its notes."""
    raw, generation, word, is_marked = await line.ask(
        ("GET", key), ("GET", generation_key), ("GET", state_key), ("SISMEMBER", notes_key, _MARK)
    )
    is_over = generation is None or word is None or not is_marked
    return (raw if isinstance(raw, bytes) else None), (None if is_over else (_word(generation), _word(word)))


async def _store(line: Line, store: Command, words: tuple[str, str]) -> tuple[object, ...]:
    """Store a page, and then get the words of its scope's state."""
    _, state = await line.ask(store, ("MGET", *words))
    return tuple(state) if isinstance(state, list) else ()


async def _begin(line: Line, generation_key: str, wanted: str, state_key: str, notes_keys: list[str]) -> None:
    """Begin a generation and its sets of notes, both or neither: a mark under the old one would hide a loss."""
    marks = [command for key in notes_keys for command in (("SADD", key, _MARK), _expiry(key))]
    *_, done = await line.ask(
        ("MULTI",), _set_word(generation_key, wanted), _set_word(state_key, secrets.token_hex(8)), *marks, ("EXEC",)
    )
    if not isinstance(done, list):
        raise TypeError("not an answer to EXEC")
    first_refusal(done)


async def _ask_gone(line: Line, keys: list[str], openings: list[str], first: Command | None) -> list[Any]:
    answers = await line.ask(*([first] if first else []), *(("SMISMEMBER", key, *openings) for key in keys))
    return answers[-len(keys) :]


def _set_word(key: str, word: str) -> Command:
    return "SET", key, word, "EX", int(_GENERATION_LIVES.total_seconds())


def _expiry(notes_key: str) -> Command:
    return "EXPIRE", notes_key, int(3 * GONE_WINDOW.total_seconds())


def _word(answer: object) -> bytes:
    if not isinstance(answer, bytes):
        raise TypeError("not a word of ours")
    return answer
