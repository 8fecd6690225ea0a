"""Cache-aside: soft and hard time to live with jitter, single flight, stale while refreshing and stale on error."""

import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.cache.single_flight import SingleFlight
from telemed.kernel.clock import Clock
from telemed.kernel.problems import Overloaded, Unavailable
from telemed.kernel.telemetry.metrics import Metrics

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A cached value. *is_valid* is False when its source has changed since: then it is the last resort only."""

    value: V
    loaded_at: datetime
    is_valid: bool = True


@dataclass(frozen=True, slots=True)
class Lookup(Generic[V]):
    """What a store has for a key. *version* names the state of the source that a load begun now will see at least."""

    entry: Entry[V] | None
    version: str


@dataclass(frozen=True, slots=True)
class Loaded(Generic[V]):
    """What the source gave. *age* is set when it may lack that much of what happened: then it is given, not kept."""

    value: V
    age: timedelta | None = None


# How a value is loaded: from a source that has everything up to the version that the store had, or, without a store
# to name one, everything.
Load = Callable[[str | None], Awaitable[Loaded[V]]]


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

    async def keep(self, key: str, version: str, entry: Entry[V], *, hard: timedelta) -> None:
        """Store what was loaded after *version* had been read, for *hard* at most."""
        ...

    async def correct(self, key: str, value: V) -> V:
        """Bring a value that somebody else loaded up to date, as `fetch` does with a stored one."""
        ...


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
        self._flights: SingleFlight[Loaded[V]] = SingleFlight()
        # Look-ups and corrections fly together too, but only those that had not begun when the caller came: a burst
        # of readers asks the store twice, not once each, and nobody gets an answer that is older than the question.
        self._lookups: SingleFlight[Lookup[V]] = SingleFlight()
        self._corrections: SingleFlight[V] = SingleFlight()

    async def get(self, key: str, load: Load[V]) -> Found[V]:
        """Give the value for *key*, loading it if need be.

        Raises:
            Whatever *load* raises, unless a stored value can stand in for an unreachable source.
        """
        try:
            found = await self._lookups.run_next(key, lambda: self._store.fetch(key))
        except CacheUnavailable:
            self._count("error")
            # Without the store nothing says whether a flight began before or after the last write: take the next.
            return await self._without_store(key, load)
        entry = found.entry
        if entry is not None and entry.is_valid:
            age = self._clock.now() - entry.loaded_at
            if self._is_fresh(entry):
                self._count("hit")
                return Found(entry.value, age)
            if age < self._stale_for:
                self._count("stale")
                self._flights.begin((key, found.version), lambda: self._load(key, found.version, load))
                return Found(entry.value, age)
        return await self._load_or_rescue(key, load, found)

    async def _without_store(self, key: str, load: Load[V]) -> Found[V]:
        return _found(await self._flights.run_next(key, lambda: load(None)))

    async def _load_or_rescue(self, key: str, load: Load[V], found: Lookup[V]) -> Found[V]:
        try:
            loaded = await self._loaded(key, found.version, load)
        except (Unavailable, Overloaded):
            if found.entry is None:
                raise
            self._count("rescued")
            return Found(found.entry.value, self._clock.now() - found.entry.loaded_at, rescued=True)
        self._count("miss")
        return loaded

    async def _loaded(self, key: str, version: str, load: Load[V]) -> Found[V]:
        try:
            loaded = await self._flights.run((key, version), lambda: self._load(key, version, load))
            # The flight may have begun before this call, and with it before a change that this caller knows of. By
            # the value's identity: those who shared a flight hold the very same one.
            value = await self._corrections.run_next(
                (key, id(loaded.value)), lambda: self._store.correct(key, loaded.value)
            )
            return _found(Loaded(value, loaded.age))
        except CacheUnavailable:
            return await self._without_store(key, load)

    async def _load(self, key: str, version: str, load: Load[V]) -> Loaded[V]:
        # What cannot be stored is given all the same; the client counts and logs the store's failures.
        with contextlib.suppress(CacheUnavailable):
            # Looked up once more: another flight may have landed since this caller looked.
            found = await self._store.fetch(key)
            version = found.version
            if found.entry is not None and found.entry.is_valid and self._is_fresh(found.entry):
                return Loaded(found.entry.value)
        # The age counts from before the load: what happens while it runs may be missing.
        begun_at = self._clock.now()
        loaded = await load(version)
        if loaded.age is not None:
            return loaded
        entry = Entry(loaded.value, loaded_at=begun_at)
        with contextlib.suppress(CacheUnavailable):
            await self._store.keep(key, version, entry, hard=self._jittered(self._stale_for))
        return loaded

    def _is_fresh(self, entry: Entry[V]) -> bool:
        return self._clock.now() - entry.loaded_at < self._jittered(self._fresh_for)

    def _jittered(self, span: timedelta) -> timedelta:
        # Entries that were stored together do not expire together.
        return span * random.uniform(0.8, 1.0)  # noqa: S311 - not a secret

    def _count(self, result: str) -> None:
        self._metrics.cache.labels(self._name, result).inc()


def _found(loaded: Loaded[V]) -> Found[V]:
    return Found(loaded.value, loaded.age or timedelta(), rescued=loaded.age is not None)
