"""Cache-aside: soft and hard time to live with jitter, single flight, stale while refreshing and stale on error."""

import contextlib
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Generic, Protocol, TypeVar

from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.cache.single_flight import SingleFlight
from telemed.kernel.clock import Clock
from telemed.kernel.problems import Overloaded, Unavailable
from telemed.kernel.telemetry.metrics import Metrics

V = TypeVar("V")
# Far more than can land while somebody looks something up.
_LANDINGS_KEPT = 1024
_JITTER = (0.8, 1.0)  # the share of its time that an entry is kept for, and is fresh for
_DRAWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A cached value. *is_valid* is False when its source has changed since: then it is the last resort only."""

    value: V
    loaded_at: datetime
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class Lookup(Generic[V]):
    """What a store has for a key. *version* names the state of the source that a load begun now will see at least.

    *state* is whatever else the store would know when it is given what was loaded.
    """

    entry: Entry[V] | None
    version: str
    state: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Loaded(Generic[V]):
    """What the source gave. *age* is set when it may lack that much of what happened: then it is given, not kept."""

    value: V
    age: timedelta | None = None


# How a value is loaded: from a source that has everything up to the version that the store had when it was looked up,
# or, without a store to name one, everything.
Load = Callable[[Lookup[V] | None], Awaitable[Loaded[V]]]


@dataclass(frozen=True, slots=True)
class Found(Generic[V]):
    """What a look-up gives. *age* is zero when the source was asked, *rescued* says that the source had failed."""

    value: V
    age: timedelta
    rescued: bool = False


class EntryStore(Protocol[V]):
    """Where entries are kept; the port behind which Redis sits. Every method raises `CacheUnavailable`."""

    async def fetch(self, key: str) -> Lookup[V]:
        """Look the key up."""
        ...

    async def keep(self, key: str, before: Lookup[V], entry: Entry[V], *, hard: timedelta) -> V:
        """Store what was loaded after the look-up *before*, for *hard* at most; give it as `correct` would."""
        ...

    async def correct(self, key: str, value: V) -> V:
        """Bring a value that somebody else loaded up to date, as `fetch` does with a stored one."""
        ...


@dataclass(frozen=True, slots=True)
class _Landed(Generic[V]):
    """What a flight brought. *corrected* holds what was noted before *asked_at*, for those who came before that."""

    loaded: Loaded[V]
    corrected: V | None = None
    asked_at: int = 0  # of the cache's moments

    def for_who_came(self, at: int) -> V | None:
        return self.corrected if at < self.asked_at else None


class _Landings:
    """When flights landed last, by key. Forgets the oldest, and then takes it that any may have."""

    def __init__(self) -> None:
        self._last: dict[Hashable, int] = {}
        self._forgotten_until = 0

    def note(self, key: Hashable, at: int) -> None:
        self._last.pop(key, None)
        self._last[key] = at
        if len(self._last) > _LANDINGS_KEPT:
            self._forgotten_until = self._last.pop(next(iter(self._last)))

    def may_be_since(self, key: Hashable, at: int) -> bool:
        return max(self._last.get(key, 0), self._forgotten_until) > at


class CacheAside(Generic[V]):
    """Reads through a store that may be lost at any moment.

    Younger than *fresh_for*: given as it is. Younger than *stale_for*: given as it is while one flight refreshes it.
    Otherwise, or when invalid: loaded. When loading fails because the source is gone, whatever the store still has.
    """

    def __init__(
        self,
        name: str,
        store: EntryStore[V],
        *,
        fresh_for: timedelta,
        stale_for: timedelta,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._store = store
        self._fresh_for = fresh_for
        self._stale_for = stale_for
        self._clock = clock
        self._metrics = metrics
        self._salt = random.random()  # noqa: S311 - not a secret
        self._flights: SingleFlight[_Landed[V]] = SingleFlight()
        # Look-ups and corrections fly together too, but only those that had not begun when the caller came: a burst
        # of readers asks the store twice, not once each, and nobody gets an answer that is older than the question.
        self._lookups: SingleFlight[tuple[Lookup[V], int]] = SingleFlight()
        self._corrections: SingleFlight[V] = SingleFlight()
        # What happened before what, in this process: a clock that never stands still.
        self._moments = count(1)
        self._landings = _Landings()

    async def get(self, key: str, load: Load[V]) -> Found[V]:
        """Give the value for *key*, loading it if need be.

        Raises:
            Whatever *load* raises, unless a stored value can stand in for an unreachable source.
        """
        came_at = next(self._moments)
        try:
            found, asked_at = await self._lookups.run_next(key, lambda: self._look(key))
        except CacheUnavailable:
            self._count("error")
            # Without the store nothing says whether a flight began before or after the last write: take the next.
            return await self._without_store(key, load)
        entry = found.entry
        if entry is not None and entry.is_valid:
            age = self._clock.now() - entry.loaded_at
            if self._is_fresh(key, entry):
                self._count("hit")
                return Found(entry.value, age)
            if age < self._stale_for:
                self._count("stale")
                self._flights.begin((key, found.version), lambda: self._load(key, load, found, asked_at))
                return Found(entry.value, age)
        return await self._load_or_rescue(key, load, found, asked_at=asked_at, came_at=came_at)

    def refresh_due_at(self, key: str, loaded_at: datetime) -> datetime:
        """Say from when on this process has an entry refreshed; drawn once for each entry, not at each look."""
        # Every process draws its own, so that one of them has refreshed an entry before the others think of it.
        chance = hash((self._salt, key, loaded_at)) % _DRAWS / _DRAWS
        earliest, latest = _JITTER
        return loaded_at + self._fresh_for * (earliest + (latest - earliest) * chance)

    async def _look(self, key: str) -> tuple[Lookup[V], int]:
        """Look the key up, and say when it was asked."""
        asked_at = next(self._moments)
        return await self._store.fetch(key), asked_at

    async def _without_store(self, key: str, load: Load[V]) -> Found[V]:
        async def landed() -> _Landed[V]:
            return _Landed(await load(None))

        return _found((await self._flights.run_next(key, landed)).loaded)

    async def _load_or_rescue(
        self, key: str, load: Load[V], found: Lookup[V], *, asked_at: int, came_at: int
    ) -> Found[V]:
        try:
            flight = self._flights.run((key, found.version), lambda: self._load(key, load, found, asked_at))
            loaded = await self._corrected(key, load, await flight, came_at)
        except (Unavailable, Overloaded):
            if found.entry is None:
                raise
            self._count("rescued")
            return Found(found.entry.value, self._clock.now() - found.entry.loaded_at, rescued=True)
        self._count("miss")
        return loaded

    async def _corrected(self, key: str, load: Load[V], landed: _Landed[V], came_at: int) -> Found[V]:
        # The flight may have begun before this caller came, and with it before a change that this caller knows of.
        loaded, value = landed.loaded, landed.for_who_came(came_at)
        try:
            if value is None:
                # By the value's identity: those who shared a flight hold the very same one.
                value = await self._corrections.run_next(
                    (key, id(loaded.value)), lambda: self._store.correct(key, loaded.value)
                )
            return _found(Loaded(value, loaded.age))
        except CacheUnavailable:
            return await self._without_store(key, load)

    async def _load(self, key: str, load: Load[V], found: Lookup[V], asked_at: int) -> _Landed[V]:
        # What cannot be stored is given all the same; the client counts and logs the store's failures.
        if self._landings.may_be_since(key, asked_at):
            # Looked up once more: what has landed since this caller looked may be what it needs.
            with contextlib.suppress(CacheUnavailable):
                found, asked_at = await self._look(key)
                if found.entry is not None and found.entry.is_valid and self._is_fresh(key, found.entry):
                    return _Landed(Loaded(found.entry.value), found.entry.value, asked_at)
        # The age counts from before the load: what happens while it runs may be missing.
        begun_at = self._clock.now()
        loaded = await load(found)
        if loaded.age is not None:
            return _Landed(loaded)
        entry = Entry(loaded.value, loaded_at=begun_at)
        asked_at, corrected = next(self._moments), None
        with contextlib.suppress(CacheUnavailable):
            corrected = await self._store.keep(key, found, entry, hard=self._jittered(self._stale_for))
        self._landings.note(key, next(self._moments))
        return _Landed(loaded, corrected, asked_at)

    def _is_fresh(self, key: str, entry: Entry[V]) -> bool:
        return self._clock.now() < self.refresh_due_at(key, entry.loaded_at)

    def _jittered(self, span: timedelta) -> timedelta:
        # Entries that were stored together do not expire together.
        return span * random.uniform(*_JITTER)  # noqa: S311 - not a secret

    def _count(self, result: str) -> None:
        self._metrics.cache.labels(self._name, result).inc()


def _found(loaded: Loaded[V]) -> Found[V]:
    return Found(loaded.value, loaded.age or timedelta(), rescued=loaded.age is not None)
