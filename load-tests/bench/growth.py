"""What a hundred times as many slots make dearer: the same requests of two processes, each on its database, in turn."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.support.platform import TelemedProcess

from bench import wire
from bench.booking import book
from bench.results import Result
from bench.scene import Bench
from bench.stage import Ground, cpu_seconds
from bench.uncached_search import Queries

SEARCH_AT_MOST, BOOKING_AT_MOST = 1.3, 1.1
CLIENTS = 12  # as many as the process has connections to the database: what many share hides what the size costs


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two databases, with its process."""

    lent: Ground
    process: TelemedProcess


Load = Callable[[Side], Awaitable[wire.Tally]]


async def growth(bench: Bench) -> list[Result]:
    """Measure uncached searches and bookings."""
    grounds = [await bench.small(), await bench.big()]
    sides = [Side(lent, await bench.serve(lent, "booking")) for lent in grounds]
    queries = Queries()

    async def search(side: Side) -> wire.Tally:
        assert side.process.port
        tally = await wire.closed(side.process.port, queries, connections=CLIENTS, seconds=bench.size.seconds)
        return tally.require(200)

    async def bookings(side: Side) -> wire.Tally:
        return await book(await bench.wishes(side.lent), side.process, bench.size.growth_bookings)

    try:
        return [
            await _dearer(bench, "search", search, sides, SEARCH_AT_MOST),
            await _dearer(bench, "booking", bookings, sides, BOOKING_AT_MOST),
        ]
    finally:
        for side in sides:
            await side.lent.running.stop(side.process)


async def _dearer(bench: Bench, what: str, load: Load, sides: list[Side], at_most: float) -> Result:
    small, big = bench.size.small, bench.size.big
    costs: dict[Side, list[float]] = {side: [] for side in sides}
    rates: dict[Side, list[float]] = {side: [] for side in sides}
    for number in range(bench.size.rounds + 1):
        for side in sides if number % 2 else sides[::-1]:
            await (await bench.wishes(side.lent)).settle()
            before = _spent(side)
            tally = await load(side)
            if number:  # the first round warms up
                costs[side].append(1000 * (_spent(side) - before) / tally.requests)
                rates[side].append(tally.rate)
    few, many = sides
    return Result(
        f"{what}, {big:,} slots against {small:,}", f"the same at {small:,} slots", "ms of CPU", "at most", at_most,
        floors=tuple(costs[few]), values=tuple(costs[many]),
        notes={
            "of": "the service's process and PostgreSQL",
            "requests_a_second": {"floor": [round(r) for r in rates[few]], "value": [round(r) for r in rates[many]]},
        },
    )  # fmt: skip


def _spent(side: Side) -> float:
    return cpu_seconds(side.process.running.pid, *side.lent.servers.postgres_pids)
