"""Redis gone while everybody searches: how many are still answered, and what becomes of the rest and of bookings.

Without Redis every search asks PostgreSQL, so a process answers a fraction of what it does otherwise. The degraded
limit is what it answers when as many come, at random, as clients who wait for their answers get out of it at best.
Beyond it, one can only choose who is refused and how soon: it holds if as many are answered when several times as many
come. Redis is killed while the requests come.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.platform import TelemedProcess

from bench import wire
from bench.cached_search import QUERIES, hot_queries
from bench.results import BenchProblem, Result
from bench.scene import Bench
from bench.stage import Ground, asking_cores, pin
from bench.wishes import Wishes
from telemed.local.valkey import ValkeyServer, start_valkey

CLIENTS = 32
BOOKINGS_A_SECOND = 10.0
# How many times as many come, and which part of the limit is answered then.
ANSWERED_AT_LEAST = {2: 0.8, 4: 0.6}
EARLY = 1.0  # seconds within which a refusal comes
P95_BELOW_MS = 1000.0


@dataclass
class Seen:
    """What came of a number of searches a second, over all rounds."""

    answered: list[float] = field(default_factory=list)  # a second
    p95: list[float] = field(default_factory=list)  # of answers, in milliseconds
    refused: int = 0
    refused_well: int = 0  # early, and told when to come again
    asked_to_book: int = 0
    booked: int = 0


async def without_redis(bench: Bench) -> list[Result]:
    """Measure the limit, then several times as many as that, with bookings beside."""
    lent = await bench.small()
    wishes, alone = await bench.wishes(lent), list[float]()
    seen = {times: Seen() for times in (1, *ANSWERED_AT_LEAST)}
    searches = itertools.cycle([wire.get(path) for path in hot_queries(QUERIES)])
    async with _process_with_redis(bench, lent) as (process, redis):
        assert process.port
        (await wire.closed(process.port, searches, connections=CLIENTS, seconds=bench.size.warm_seconds)).require(200)
        redis.stop()
        for number in range(max(1, bench.size.rounds // 2)):
            best = await wire.closed(process.port, searches, connections=CLIENTS, seconds=bench.size.storm_seconds / 3)
            alone.append(best.require(200).rate)
            for times, found in seen.items():
                await _storm(bench, process.port, wishes, searches, times * alone[-1], number, found)
    return _results(seen, alone)


@asynccontextmanager
async def _process_with_redis(bench: Bench, lent: Ground) -> AsyncIterator[tuple[TelemedProcess, ValkeyServer]]:
    """Start a service with a Redis that nobody else needs."""
    redis = start_valkey(lent.servers.folder / "valkey-to-lose", lent.servers.guard)
    pin(redis.running.pid, asking_cores())
    process = await bench.serve(lent, "booking", REDIS_URL=redis.url)
    try:
        yield process, redis
    finally:
        await lent.running.stop(process)
        redis.stop()


async def _storm(
    bench: Bench,
    port: int,
    wishes: Wishes,
    searches: "itertools.cycle[bytes]",
    rate: float,
    number: int,
    seen: Seen,
) -> None:
    seconds = bench.size.storm_seconds
    at = wire.arrivals(rate, seconds, seed=number)
    bookings = wire.arrivals(BOOKINGS_A_SECOND, seconds, seed=100 + number)
    taken = await wishes.take(len(bookings))
    storm, booked = await asyncio.gather(
        # As many connections as can be under way: who waits for one is not seen by the service at all.
        wire.paced(port, searches, at, connections=min(1000, len(at))),
        wire.paced(port, wishes.requests(taken), bookings, connections=CLIENTS),
    )
    storm.require(200, 503)
    refusals = storm.latencies.get(503, [])
    seen.answered.append(storm.statuses[200] / storm.seconds)
    seen.p95.append(storm.p(95))
    seen.refused += len(refusals)
    seen.refused_well += sum(latency <= EARLY for latency in refusals) - storm.without_retry_after
    seen.asked_to_book += len(taken)
    seen.booked += booked.require(201, 503).statuses[201]
    if await wishes.booked(taken) != booked.statuses[201]:
        raise BenchProblem("bookings were acknowledged that are not there, or the other way round")


def _results(seen: dict[int, Seen], alone: list[float]) -> list[Result]:
    limit, most = tuple(seen[1].answered), seen[max(seen)]
    if not most.refused:
        raise BenchProblem("nobody was refused: it was no overload")
    found = seen.values()
    refused, asked_to_book = sum(one.refused for one in found), sum(one.asked_to_book for one in found)
    p95 = [slowest for one in found for slowest in one.p95]
    notes = {
        "queries": QUERIES, "bookings_a_second": BOOKINGS_A_SECOND,
        f"answers_a_second_to_{CLIENTS}_clients_who_wait": [round(rate) for rate in alone],
    }  # fmt: skip
    return [
        *(
            Result(
                f"search without Redis, {times} times as many", "the limit: as many come as it can answer at best",
                "requests/s", "at least", target, floors=limit, values=tuple(seen[times].answered),
                notes=notes | {"refused": seen[times].refused},
            )
            for times, target in ANSWERED_AT_LEAST.items()
        ),
        Result(
            "search without Redis, p95 of answers", "what is allowed", "ms", "at most", 1.0,
            floors=(P95_BELOW_MS,) * len(p95), values=tuple(p95), notes=notes,
        ),
        Result(
            "searches refused without Redis", "refused searches; right is 503 with Retry-After within a second",
            "right answers", "at least", 1.0,
            floors=(float(refused),), values=(float(sum(one.refused_well for one in found)),), notes=notes,
        ),
        Result(
            "bookings beside them", "patients who came to book", "bookings", "at least", 1.0,
            floors=(float(asked_to_book),), values=(float(sum(one.booked for one in found)),), notes=notes,
        ),
    ]  # fmt: skip
