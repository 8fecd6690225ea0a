"""What a hundred times as many slots make dearer: the same requests of two processes, each on its database, in turn."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.platform import TelemedProcess

from bench import wire
from bench.booking import book
from bench.results import Result
from bench.scene import Bench
from bench.stage import Ground, cpu_seconds
from bench.uncached_search import Queries

SEARCH_AT_MOST, BOOKING_AT_MOST = 1.3, 1.1
# Of a round, in turn: a machine whose pace changes from second to second does so for both sides then.
PIECES = 4
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
        seconds = bench.size.seconds / PIECES
        return (await wire.closed(side.process.port, queries, connections=CLIENTS, seconds=seconds)).require(200)

    async def bookings(side: Side) -> wire.Tally:
        return await book(await bench.wishes(side.lent), side.process, bench.size.growth_bookings // PIECES)

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
    rounds = []
    for number in range(bench.size.rounds + 1):
        for side in sides:
            await (await bench.wishes(side.lent)).settle()
        rounds.append([_Cost.of(pieces) for pieces in await _in_turn(load, sides, number)])
    few, many = zip(*rounds[1:], strict=True)  # the first one warms up
    return Result(
        f"{what}, {big:,} slots against {small:,}", f"the same at {small:,} slots", "ms of CPU", "at most", at_most,
        floors=tuple(cost.cpu_ms for cost in few), values=tuple(cost.cpu_ms for cost in many),
        notes={
            "of": "the service's process and PostgreSQL",
            "requests_a_second": {"floor": [cost.rate for cost in few], "value": [cost.rate for cost in many]},
        },
    )  # fmt: skip


class _Cost(NamedTuple):
    """What a request took in a round."""

    cpu_ms: float
    rate: int  # of them, a second

    @classmethod
    def of(cls, pieces: list[tuple[float, wire.Tally]]) -> "_Cost":
        """Put the pieces of a round together: the CPU's seconds of each, and what was answered."""
        requests = sum(tally.requests for _, tally in pieces)
        seconds = sum(tally.seconds for _, tally in pieces)
        return cls(1000 * sum(spent for spent, _ in pieces) / requests, round(requests / seconds))


async def _in_turn(load: Load, sides: list[Side], number: int) -> list[list[tuple[float, wire.Tally]]]:
    pieces: dict[Side, list[tuple[float, wire.Tally]]] = {side: [] for side in sides}
    for piece in range(PIECES):
        for side in sides if (number + piece) % 2 else sides[::-1]:
            before = _spent(side)
            tally = await load(side)
            pieces[side].append((_spent(side) - before, tally))
    return [pieces[side] for side in sides]


def _spent(side: Side) -> float:
    return cpu_seconds(side.process.running.pid, *side.lent.servers.postgres_pids)
