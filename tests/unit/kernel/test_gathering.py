"""What many ask for at the same time is done for all of them at once, and each gets what is theirs."""

import asyncio
import gc
from collections.abc import Sequence
from functools import partial

import pytest

from telemed.kernel import gathering
from telemed.kernel.cache.single_flight import SingleFlight
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.gathering import Gathering


class Doer:
    """Doubles numbers, when it is let; says in which calls."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def double(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await self.may_end.wait()
        if 13 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]


async def begun(doer: Doer, calls: int) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(doer.calls) == calls


async def test_who_asks_alone_is_alone() -> None:
    """And waits for nobody."""
    doer = Doer()
    numbers = Gathering(doer.double)
    assert [await numbers.ask(1), await numbers.ask(2)] == [2, 4]
    assert doer.calls == [[1], [2]]


async def test_who_asks_meanwhile_shares_the_next_call() -> None:
    """Never the one that has begun: what it sees may be older than the question."""
    doer = Doer()
    doer.may_end.clear()
    numbers = Gathering(doer.double)
    asking = [asyncio.create_task(numbers.ask(1))]
    await begun(doer, 1)
    asking += [asyncio.create_task(numbers.ask(number)) for number in (2, 3, 4)]
    await begun(doer, 1)
    doer.may_end.set()

    assert await asyncio.gather(*asking) == [2, 4, 6, 8]
    assert doer.calls == [[1], [2, 3, 4]]


async def test_who_asks_again_shares_a_call_with_who_has_waited() -> None:
    """Both are woken at the same time; to serve them in turns for ever would be twice as many calls."""
    doer = Doer()
    numbers = Gathering(doer.double)
    flights: SingleFlight[int] = SingleFlight()

    async def thrice(number: int) -> None:
        for _ in range(3):
            # Through a flight, as search asks: the answer goes from task to task before it is asked again.
            await flights.run(number, partial(numbers.ask, number))

    doer.may_end.clear()
    first = asyncio.create_task(thrice(1))
    await begun(doer, 1)
    second = asyncio.create_task(thrice(2))
    await begun(doer, 1)
    doer.may_end.set()
    await asyncio.gather(first, second)

    assert doer.calls == [[1], [2, 1], [2, 1], [2]]


async def test_the_deadline_of_who_came_first_is_not_everybodys() -> None:
    """A request that is nearly over begins the call; those who join it have time."""
    deadlines: list[Deadline | None] = []

    async def note(numbers: Sequence[int]) -> Sequence[int]:
        deadlines.append(current_deadline.get())
        return numbers

    token = current_deadline.set(Deadline(0.0, writes=True))
    assert await Gathering(note).ask(1) == 1
    current_deadline.reset(token)
    assert deadlines == [None]


async def test_a_failure_is_that_of_its_call_alone() -> None:
    """Everybody in it hears of it; those before and after do not."""
    doer = Doer()
    doer.may_end.clear()
    numbers = Gathering(doer.double)
    first = asyncio.create_task(numbers.ask(1))
    await begun(doer, 1)
    together = [asyncio.create_task(numbers.ask(number)) for number in (12, 13)]
    doer.may_end.set()

    assert await first == 2
    for asking in together:
        with pytest.raises(ZeroDivisionError):
            await asking
    assert await numbers.ask(14) == 28


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    """Not even who was the reason for the call."""
    doer = Doer()
    doer.may_end.clear()
    numbers = Gathering(doer.double)
    leaving, staying = asyncio.create_task(numbers.ask(1)), asyncio.create_task(numbers.ask(2))
    await begun(doer, 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    doer.may_end.set()
    assert await staying == 4
    assert doer.calls == [[1, 2]]


async def test_a_call_that_does_not_end_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection into nowhere is one, not all; whoever waits for it waits alone."""
    monkeypatch.setattr(gathering, "_PATIENCE_SECONDS", 0.01)
    doer = Doer()
    doer.may_end.clear()
    numbers = Gathering(doer.double)
    stuck = asyncio.create_task(numbers.ask(1))
    await begun(doer, 1)
    never, doer.may_end = doer.may_end, asyncio.Event()
    doer.may_end.set()

    async with asyncio.timeout(5):
        assert list(await asyncio.gather(numbers.ask(2), numbers.ask(3))) == [4, 6]
        assert await numbers.ask(4) == 8
    assert not stuck.done()
    never.set()
    assert await stuck == 2
    assert doer.calls == [[1], [2, 3], [4]]


async def test_a_failure_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """All who asked have left."""
    doer = Doer()
    doer.may_end.clear()
    leaving = asyncio.create_task(Gathering(doer.double).ask(13))
    await begun(doer, 1)
    leaving.cancel()
    await asyncio.wait({leaving})
    doer.may_end.set()
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records


async def test_a_call_is_bounded() -> None:
    """However many come; more go in several, and each still gets what is theirs."""
    doer = Doer()
    numbers = Gathering(doer.double, at_once=10)
    asked = [number for number in range(37) if number != 13]
    assert await asyncio.gather(*map(numbers.ask, asked)) == [2 * number for number in asked]
    assert list(map(len, doer.calls)) == [10, 10, 10, 6]


async def test_who_is_served_first_does_not_wait_for_the_last() -> None:
    """Nor fails with them: of those who came together, each hears of their own call."""
    may_end = {1: asyncio.Event(), 12: asyncio.Event(), 5: asyncio.Event()}

    async def double(numbers: Sequence[int]) -> list[int]:
        await may_end[numbers[0]].wait()
        if 13 in numbers:
            raise ZeroDivisionError
        return [2 * number for number in numbers]

    numbers = Gathering(double, at_once=2)
    first, second, *failing, last = (asyncio.create_task(numbers.ask(number)) for number in (1, 2, 12, 13, 5))
    may_end[1].set()
    assert [await first, await second] == [2, 4]
    assert not any(one.done() for one in failing)

    may_end[12].set()
    for one in failing:
        with pytest.raises(ZeroDivisionError):
            await one
    assert not last.done()
    may_end[5].set()
    assert await last == 10


async def test_when_everything_is_cancelled_so_are_those_who_wait() -> None:
    """At the end of a process; nobody is left waiting for what will not come."""
    doer = Doer()
    doer.may_end.clear()
    numbers = Gathering(doer.double, at_once=1)
    asking = [asyncio.create_task(numbers.ask(number)) for number in (1, 2)]
    await begun(doer, 1)
    assert numbers._last is not None
    numbers._last.cancel()
    await asyncio.wait(asking, timeout=5)
    assert [one.cancelled() for one in asking] == [True, True]


async def test_too_few_results_are_an_error() -> None:
    """And not somebody else's."""

    async def forgetful(numbers: Sequence[int]) -> list[int]:
        return list(numbers[1:])

    with pytest.raises(ValueError, match="shorter"):
        await Gathering(forgetful).ask(1)
