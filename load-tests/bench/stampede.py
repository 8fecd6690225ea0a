"""Those who come too late: what they cost, and five hundred at once for one slot."""

import asyncio
import time

from tests.support.platform import TelemedProcess

from bench import wire
from bench.booking import CLIENTS, book
from bench.results import BenchProblem, Result
from bench.scene import Bench
from bench.stage import Ground, cpu_seconds
from bench.wishes import Wishes

CROWD = 500
PROCESSES = 2  # as many as a deployment has at least
CHEAPER = 4.0
# As they take a third of the time, so many of them are looked at for as long as the winners: on a machine whose pace
# changes from second to second, what is over soon is measured by chance.
LOSERS_FOR_EACH = 3


async def stampede(bench: Bench) -> list[Result]:
    """Measure losers against winners, in turn; then let the crowd come."""
    lent = await bench.big()
    wishes = await bench.wishes(lent)
    processes = [await bench.serve(lent, "booking") for _ in range(PROCESSES)]
    try:
        await book(wishes, processes[0], bench.size.bookings // 4)
        costs = [await _costs(bench, lent, wishes, processes[0]) for _ in range(bench.size.rounds)]
        crowds = [await _crowd(wishes, processes) for _ in range(bench.size.stampedes)]
    finally:
        for process in processes:
            await lent.running.stop(process)
    return [
        Result(
            "winner's cost against a loser's", "CPU of a refusal because the slot is taken", "ms of CPU", "at least",
            CHEAPER, floors=tuple(loser for _, loser in costs), values=tuple(winner for winner, _ in costs),
            notes={"of": "the service's process and PostgreSQL", "clients": CLIENTS, "losers": LOSERS_FOR_EACH},
        ),
        Result(
            f"stampede of {CROWD} on one slot", "clients; right is one 201 and 409 for all others", "right answers",
            "at least", 1.0, floors=(CROWD,) * len(crowds), values=tuple(float(right) for right, _ in crowds),
            notes={"processes": PROCESSES, "seconds": [round(seconds, 2) for _, seconds in crowds]},
        ),
    ]  # fmt: skip


async def _costs(bench: Bench, lent: Ground, wishes: Wishes, process: TelemedProcess) -> tuple[float, float]:
    """Give what a winner costs, and a loser, in milliseconds of CPU."""
    assert process.port
    (taken,) = await wishes.take(1)
    (await wire.closed(process.port, wishes.requests([taken]), connections=1)).require(201)
    losers = await wishes.take(LOSERS_FOR_EACH * bench.size.bookings)
    requests = list(wishes.requests(losers, slot=taken))
    await wishes.settle()
    before = _spent(lent, process)
    won = await book(wishes, process, bench.size.bookings)
    between = _spent(lent, process)
    lost = (await wire.closed(process.port, iter(requests), connections=CLIENTS)).require(409)
    return 1000 * (between - before) / won.requests, 1000 * (_spent(lent, process) - between) / lost.requests


async def _crowd(wishes: Wishes, processes: list[TelemedProcess]) -> tuple[int, float]:
    """Let everybody ask for one slot at once; give the number of right answers, and the seconds until the last."""
    (slot,) = await wishes.take(1)
    crowd = await wishes.take(CROWD)
    share = CROWD // len(processes)
    shares = [crowd[share * place : share * (place + 1)] for place in range(len(processes))]
    parts = [list(wishes.requests(of_one, slot=slot)) for of_one in shares]
    begun = time.perf_counter()
    tallies = await asyncio.gather(
        *(
            wire.closed(process.port or 0, iter(part), connections=len(part))
            for process, part in zip(processes, parts, strict=True)
        )
    )
    statuses = sum((tally.statuses for tally in tallies), start=type(tallies[0].statuses)())
    if statuses[201] != 1:
        raise BenchProblem(f"{statuses[201]} of {CROWD} have the slot: {dict(statuses)}")
    return statuses[201] + statuses[409], time.perf_counter() - begun


def _spent(lent: Ground, process: TelemedProcess) -> float:
    return cpu_seconds(process.running.pid, *lent.servers.postgres_pids)
