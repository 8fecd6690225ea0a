"""Redis gone while everybody searches: how many are still answered, and what becomes of the rest and of bookings.

Without Redis every search asks PostgreSQL, so a process answers a fraction of what it does otherwise: the degraded
limit. Beyond it, one can only choose who is refused and how soon. Redis is killed while the requests come.
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
from bench.stage import Ground, asking_cores, pin, serve_pinned
from bench.wishes import Wishes
from telemed.local.valkey import ValkeyServer, start_valkey

CLIENTS = 32
BOOKINGS_A_SECOND = 10.0
TIMES = 2.0
ANSWERED_AT_LEAST = 0.8
EARLY = 1.0  # seconds within which a refusal comes
P95_BELOW_MS = 1000.0


@dataclass
class Seen:
    """What came of the overload, over all rounds."""

    answered: list[float] = field(default_factory=list)  # a second
    p95: list[float] = field(default_factory=list)
    refused: int = 0
    refused_well: int = 0  # early, and told when to come again
    asked_to_book: int = 0
    booked: int = 0


async def without_redis(bench: Bench) -> list[Result]:
    """Measure the limit, then twice as many as that, with bookings beside."""
    lent = await bench.small()
    wishes, seen, limits = await bench.wishes(lent), Seen(), list[float]()
    searches = itertools.cycle([wire.get(path) for path in hot_queries(QUERIES)])
    async with _process_with_redis(lent) as (process, redis):
        assert process.port
        (await wire.closed(process.port, searches, connections=CLIENTS, seconds=bench.size.warm_seconds)).require(200)
        redis.stop()
        for number in range(max(1, bench.size.rounds // 2)):
            alone = await wire.closed(process.port, searches, connections=CLIENTS, seconds=bench.size.storm_seconds / 3)
            limits.append(alone.require(200).rate)
            await _overload(bench, process.port, wishes, searches, TIMES * limits[-1], number, seen)
    return _results(seen, limits)


@asynccontextmanager
async def _process_with_redis(lent: Ground) -> AsyncIterator[tuple[TelemedProcess, ValkeyServer]]:
    """Start a service with a Redis that nobody else needs."""
    redis = start_valkey(lent.servers.folder / "valkey-to-lose", lent.servers.guard)
    pin(redis.running.pid, asking_cores())
    process = await serve_pinned(lent.running, "booking", REDIS_URL=redis.url)
    try:
        yield process, redis
    finally:
        await lent.running.stop(process)
        redis.stop()


async def _overload(
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


def _results(seen: Seen, limits: list[float]) -> list[Result]:
    if not seen.refused:
        raise BenchProblem("nobody was refused: it was no overload")
    notes = {
        "queries": QUERIES, "asked": f"{TIMES:g} times what is answered alone", "refused": seen.refused,
        "bookings_a_second": BOOKINGS_A_SECOND,
    }  # fmt: skip
    return [
        Result(
            "search without Redis, twice its limit", "the limit: searches alone without Redis", "requests/s",
            "at least", ANSWERED_AT_LEAST, floors=tuple(limits), values=tuple(seen.answered), notes=notes,
        ),
        Result(
            "search without Redis, p95 of answers", "what is allowed", "ms", "at most", 1.0,
            floors=(P95_BELOW_MS,) * len(seen.p95), values=tuple(seen.p95), notes=notes,
        ),
        Result(
            "searches refused without Redis", "refused searches; right is 503 with Retry-After within a second",
            "right answers", "at least", 1.0,
            floors=(float(seen.refused),), values=(float(seen.refused_well),), notes=notes,
        ),
        Result(
            "bookings beside them", "patients who came to book", "bookings", "at least", 1.0,
            floors=(float(seen.asked_to_book),), values=(float(seen.booked),), notes=notes,
        ),
    ]  # fmt: skip
