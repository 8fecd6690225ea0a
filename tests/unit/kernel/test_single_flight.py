"""Single flight: one load for everybody who asks meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from telemed.kernel.cache.single_flight import SingleFlight
from telemed.kernel.deadline import Deadline, current_deadline


class Source:
    """Something slow to load from, which counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.value = 0
        self.open = asyncio.Event()
        self.failure: Exception | None = None

    async def load(self) -> int:
        self.begun += 1
        seen = self.value
        await self.open.wait()
        if self.failure:
            raise self.failure
        return seen


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_two_thousand_callers_are_one_load() -> None:
    """A stampede costs what one request costs."""
    flights, source = SingleFlight[int](), Source()
    callers = [asyncio.create_task(flights.run("key", source.load)) for _ in range(2000)]
    await settled()
    source.open.set()
    assert await asyncio.gather(*callers) == [0] * 2000
    assert source.begun == 1


async def test_keys_do_not_wait_for_each_other() -> None:
    """Only the same question is shared."""
    flights, slow, fast = SingleFlight[int](), Source(), Source()
    waiting = asyncio.create_task(flights.run("slow", slow.load))
    fast.open.set()
    assert await flights.run("fast", fast.load) == 0
    slow.open.set()
    assert await waiting == 0


async def test_a_cancelled_leader_leaves_the_load_to_the_others() -> None:
    """Who began the load may hang up without taking it along."""
    flights, source = SingleFlight[int](), Source()
    leader = asyncio.create_task(flights.run("key", source.load))
    await settled()
    follower = asyncio.create_task(flights.run("key", source.load))
    await settled()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    source.open.set()
    assert await follower == 0
    assert source.begun == 1


async def test_a_failure_is_shared_but_not_remembered() -> None:
    """All who waited learn of it; the next caller tries again."""
    flights, source = SingleFlight[int](), Source()
    source.failure = LookupError("gone")
    callers = [asyncio.create_task(flights.run("key", source.load)) for _ in range(50)]
    await settled()
    source.open.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, LookupError) for result in results)
    assert source.begun == 1
    source.failure = None
    assert await flights.run("key", source.load) == 0
    assert source.begun == 2


async def test_run_next_sees_what_was_written_before_the_call() -> None:
    """A load that is already under way may have read too early; those who come now share the one after it."""
    flights, source = SingleFlight[int](), Source()
    early = asyncio.create_task(flights.run_next("key", source.load))
    await settled()
    source.value = 1
    late = [asyncio.create_task(flights.run_next("key", source.load)) for _ in range(500)]
    await settled()
    source.open.set()
    assert await early == 0
    assert await asyncio.gather(*late) == [1] * 500
    assert source.begun == 2


@pytest.mark.parametrize("pause", range(6))
@pytest.mark.parametrize("loading", range(3))
async def test_run_next_is_never_late_however_the_calls_fall(pause: int, loading: int) -> None:
    """At every possible moment of writing, a call that follows the write sees it, whoever else is flying."""
    flights = SingleFlight[int]()
    written = 0
    is_over = False

    async def load() -> int:
        seen = written
        for _ in range(loading):
            await asyncio.sleep(0)
        return seen

    async def keep_asking(ask: Callable[[str, Callable[[], Awaitable[int]]], Awaitable[int]], every: int) -> None:
        while not is_over:
            before = written
            seen = await ask("key", load)
            assert ask != flights.run_next or seen >= before
            for _ in range(every):
                await asyncio.sleep(0)

    crowd = [
        asyncio.create_task(keep_asking(ask, every))
        for ask in (flights.run, flights.run_next)
        for every in (1, 2, 3, 4)
    ]
    for number in range(1, 40):
        for _ in range(pause):
            await asyncio.sleep(0)
        written = number
        assert await flights.run_next("key", load) >= number
    is_over = True
    await asyncio.gather(*crowd)


async def test_a_failed_flight_does_not_break_the_next() -> None:
    """The flight after a failed one is flown all the same."""
    flights, source = SingleFlight[int](), Source()
    source.failure = LookupError("gone")
    early = asyncio.create_task(flights.run("key", source.load))
    await settled()
    late = asyncio.create_task(flights.run_next("key", source.load))
    await settled()
    source.open.set()
    with pytest.raises(LookupError):
        await early
    source.failure = None
    assert await late == 0


async def test_nothing_is_kept_of_landed_flights() -> None:
    """The map of flights does not grow with the keys that were ever asked for."""
    flights, source = SingleFlight[int](), Source()
    source.open.set()
    await asyncio.gather(*(flights.run(number, source.load) for number in range(1000)))
    await asyncio.gather(*(flights.run_next(number, source.load) for number in range(1000)))
    await settled()
    assert not flights._flights
    assert not flights._next


async def test_a_flight_has_no_deadline() -> None:
    """It flies for everybody: the deadline of who happened to begin it would end it for the others."""

    async def load() -> Deadline | None:
        return current_deadline.get()

    deadline = Deadline(time.monotonic() + 60, writes=False)
    token = current_deadline.set(deadline)
    try:
        assert await SingleFlight[Deadline | None]().run("key", load) is None
        assert current_deadline.get() is deadline
    finally:
        current_deadline.reset(token)
