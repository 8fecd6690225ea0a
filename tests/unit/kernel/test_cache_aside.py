"""Cache-aside: what is fresh, stale, gone or unreachable, and what callers get of it."""

import asyncio
from datetime import timedelta

import pytest
from tests.support.settings import NOW
from tests.support.waiting import until

from telemed.kernel.cache.aside import CacheAside, Entry, Loaded, Lookup
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.clock import ManualClock
from telemed.kernel.problems import NotFound, Unavailable
from telemed.kernel.telemetry.metrics import Metrics

FRESH, STALE = timedelta(seconds=10), timedelta(seconds=100)


class MemoryStore:
    """Keeps entries in memory; the twin of the stores in Redis. Forgets as they do, and can be lost."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[Entry[int], timedelta]] = {}
        self.version = "1"
        self.is_lost = False
        self.is_lost_late = False  # answers look-ups, then nothing more
        self.is_valid = True
        self.correction = 0
        self.asked: list[str] = []
        self.held: dict[str, asyncio.Event] = {}  # answers that are on their way until the event

    async def fetch(self, key: str) -> Lookup[int]:
        self.asked.append("fetch")
        await asyncio.sleep(0)
        if self.is_lost:
            raise CacheUnavailable("lost")
        entry, hard = self._kept.get(key, (None, timedelta()))
        await self._arrival("fetch")
        if entry is None or self._clock.now() - entry.loaded_at >= hard:
            return Lookup(None, self.version)
        return Lookup(Entry(entry.value, entry.loaded_at, is_valid=self.is_valid), self.version)

    async def keep(self, key: str, before: Lookup[int], entry: Entry[int], *, hard: timedelta) -> int:
        if self.is_lost or self.is_lost_late:
            raise CacheUnavailable("lost")
        assert before.version == self.version
        self.asked.append("keep")
        value = entry.value + self.correction
        await self._arrival("keep")
        self._kept[key] = (entry, hard)
        return value

    async def correct(self, key: str, value: int) -> int:
        self.asked.append("correct")
        if self.is_lost or self.is_lost_late:
            raise CacheUnavailable("lost")
        return value + self.correction

    async def _arrival(self, of: str) -> None:
        if of in self.held:
            await self.held[of].wait()


class Source:
    """What the cache stands in front of; counts, and can be gone."""

    def __init__(self) -> None:
        self.loads = 0
        self.failure: Exception | None = None
        self.age: timedelta | None = None  # set: it lacks the latest
        self.before: list[Lookup[int] | None] = []  # the look-ups that it was asked after

    async def load(self, before: Lookup[int] | None) -> Loaded[int]:
        self.loads += 1
        self.before.append(before)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return Loaded(self.loads, self.age)


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def cache(store: MemoryStore, clock: ManualClock, metrics: Metrics) -> CacheAside[int]:
    return CacheAside("test", store, fresh_for=FRESH, stale_for=STALE, clock=clock, metrics=metrics)


@pytest.fixture
def source() -> Source:
    return Source()


def counted(metrics: Metrics, result: str) -> float:
    return float(metrics.cache.labels("test", result).value)


async def test_a_fresh_value_is_given_without_asking(
    cache: CacheAside[int], source: Source, clock: ManualClock, metrics: Metrics
) -> None:
    """One load serves everybody for its time, and says how old it is."""
    await cache.get("key", source.load)
    clock.advance(FRESH * 0.5)
    found = await cache.get("key", source.load)
    assert (found.value, found.age, source.loads) == (1, FRESH * 0.5, 1)
    assert (counted(metrics, "miss"), counted(metrics, "hit")) == (1, 1)


async def test_a_stale_value_is_given_while_one_flight_refreshes_it(
    cache: CacheAside[int], source: Source, clock: ManualClock
) -> None:
    """Nobody waits for the refresh, and a hundred callers begin only one."""
    await cache.get("key", source.load)
    clock.advance(FRESH * 2)
    found = await asyncio.gather(*(cache.get("key", source.load) for _ in range(100)))
    assert {one.value for one in found} == {1}
    await asyncio.sleep(0.01)
    assert source.loads == 2
    assert (await cache.get("key", source.load)).value == 2


async def test_a_value_past_its_hard_limit_is_loaded(
    cache: CacheAside[int], source: Source, clock: ManualClock
) -> None:
    """From then on a caller waits rather than getting what is too old."""
    await cache.get("key", source.load)
    clock.advance(STALE)
    assert (await cache.get("key", source.load)).value == 2


async def test_a_value_whose_source_has_changed_is_loaded(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """However fresh it is: a slot that was just booked is gone."""
    await cache.get("key", source.load)
    store.is_valid = False
    assert (await cache.get("key", source.load)).value == 2


@pytest.mark.parametrize("is_valid", [True, False])
async def test_an_old_value_stands_in_for_a_lost_source(
    cache: CacheAside[int], source: Source, store: MemoryStore, is_valid: bool
) -> None:
    """With its age, and marked, so that the reply can say so."""
    await cache.get("key", source.load)
    store.is_valid = is_valid
    source.failure = Unavailable()
    found = await cache.get("key", source.load)
    assert found.value == 1
    assert found.rescued != is_valid


async def test_an_old_value_stands_in_when_store_and_source_are_lost_one_after_the_other(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """The store goes after it was looked into; the second load then finds the source gone."""
    await cache.get("key", source.load)
    store.is_valid, store.is_lost_late = False, True

    async def once(before: Lookup[int] | None) -> Loaded[int]:
        if source.loads > 1:
            raise Unavailable
        return await source.load(before)

    found = await cache.get("key", once)
    assert (found.value, found.rescued) == (1, True)


async def test_a_miss_asks_the_store_twice(cache: CacheAside[int], source: Source, store: MemoryStore) -> None:
    """Before the load and after it; each question costs more than all else that the store does."""
    store.correction = 100
    assert (await cache.get("key", source.load)).value == 101
    assert store.asked == ["fetch", "keep"]


async def test_what_a_flight_brings_is_corrected(cache: CacheAside[int], source: Source, store: MemoryStore) -> None:
    """Whoever joined it may know of a change that its load has not seen."""
    store.correction = 100
    found = await asyncio.gather(*(cache.get("key", source.load) for _ in range(50)))
    assert {one.value for one in found} <= {101, 1}  # 1: those who found it stored, corrected by `fetch` in real stores
    assert found[0].value == 101


async def test_a_correction_holds_for_those_who_came_before_it_was_asked_for(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """Who came later may know of a change that it has not seen either."""
    store.held["keep"] = asyncio.Event()
    early = [asyncio.create_task(cache.get("key", source.load)) for _ in range(5)]
    await until(lambda: "keep" in store.asked)
    store.correction = 100
    late = [asyncio.create_task(cache.get("key", source.load)) for _ in range(5)]
    await until(lambda: store.asked.count("fetch") == 2)
    await asyncio.sleep(0.01)
    store.held["keep"].set()
    assert {(await task).value for task in early} == {1}
    assert {(await task).value for task in late} == {101}
    assert source.loads == 1


async def test_what_landed_during_a_look_up_is_not_loaded_again(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """The answer to the look-up is older than what it would have found."""
    store.held["keep"] = asyncio.Event()
    early = asyncio.create_task(cache.get("key", source.load))
    await until(lambda: "keep" in store.asked)
    store.held["fetch"] = asyncio.Event()
    late = asyncio.create_task(cache.get("key", source.load))
    await until(lambda: store.asked.count("fetch") == 2)
    await asyncio.sleep(0.01)  # it has looked: what comes now comes too late for the answer
    store.held["keep"].set()
    await early
    store.held["fetch"].set()
    assert (await late).value == 1
    assert source.loads == 1


async def test_a_stale_value_survives_a_failed_refresh(
    cache: CacheAside[int], source: Source, clock: ManualClock
) -> None:
    """A refresh that fails in the background bothers nobody."""
    await cache.get("key", source.load)
    clock.advance(FRESH * 2)
    source.failure = Unavailable()
    for _ in range(3):
        assert (await cache.get("key", source.load)).value == 1
        await asyncio.sleep(0.01)


async def test_a_lost_source_without_an_old_value_is_a_problem(cache: CacheAside[int], source: Source) -> None:
    """Nothing is invented."""
    source.failure = Unavailable()
    with pytest.raises(Unavailable):
        await cache.get("key", source.load)


async def test_an_answer_that_is_no_outage_is_not_papered_over(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """Only a source that is gone is rescued; one that says no is believed."""
    await cache.get("key", source.load)
    store.is_valid = False
    source.failure = NotFound()
    with pytest.raises(NotFound):
        await cache.get("key", source.load)


async def test_a_lost_store_costs_one_load_at_a_time(
    cache: CacheAside[int], source: Source, store: MemoryStore, metrics: Metrics
) -> None:
    """Without Redis a crowd asks the source in two flights, not in a thousand."""
    store.is_lost = True
    await asyncio.gather(*(cache.get("key", source.load) for _ in range(1000)))
    assert source.loads <= 2
    assert counted(metrics, "error") == 1000


def test_processes_do_not_refresh_together(store: MemoryStore, clock: ManualClock, metrics: Metrics) -> None:
    """Each draws the moment for itself: one of them has a new entry there before the others think of it."""
    first, second = [
        CacheAside("test", store, fresh_for=FRESH, stale_for=STALE, clock=clock, metrics=metrics) for _ in range(2)
    ]
    loaded_at = clock.now()
    for number in range(20):
        due_at = first.refresh_due_at(str(number), loaded_at)
        assert loaded_at + FRESH * 0.8 <= due_at <= loaded_at + FRESH
        assert first.refresh_due_at(str(number), loaded_at) == due_at, "drawn again at each look"
        assert second.refresh_due_at(str(number), loaded_at) != due_at


async def test_entries_do_not_expire_together(store: MemoryStore, clock: ManualClock, metrics: Metrics) -> None:
    """Those that were stored in one instant are refreshed over a fifth of their time."""
    cache: CacheAside[int] = CacheAside("test", store, fresh_for=FRESH, stale_for=STALE, clock=clock, metrics=metrics)
    source = Source()
    for number in range(100):
        await cache.get(str(number), source.load)
    clock.advance(FRESH * 0.9)
    for number in range(100):
        await cache.get(str(number), source.load)
    await asyncio.sleep(0.01)
    assert 5 < source.loads - 100 < 95
    assert clock.now() > NOW


async def test_what_an_old_source_gives_is_shown_with_its_age_and_not_kept(
    cache: CacheAside[int], source: Source, store: MemoryStore
) -> None:
    """A replica that is behind helps in an outage; afterwards nobody shall be given what it had."""
    source.age = timedelta(seconds=7)
    found = await cache.get("key", source.load)
    assert (found.value, found.age, found.rescued) == (1, timedelta(seconds=7), True)
    source.age = None
    found = await cache.get("key", source.load)
    assert (found.value, found.rescued) == (2, False)


async def test_the_source_hears_what_the_store_had(
    cache: CacheAside[int], source: Source, store: MemoryStore, clock: ManualClock
) -> None:
    """The store's version names what happened; without a store the source must have everything."""
    await cache.get("key", source.load)
    store.is_valid = False
    await cache.get("key", source.load)
    store.is_lost = True
    await cache.get("key", source.load)
    assert source.before == [Lookup(None, "1"), Lookup(Entry(1, clock.now(), is_valid=False), "1"), None]
