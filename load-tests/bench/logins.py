"""A login storm at twice what one CPU can hash, beside reads on the same CPU in the same process."""

import asyncio
import itertools
import json
from dataclasses import dataclass

from bench import wire
from bench.results import BenchProblem, Result
from bench.scene import Bench
from bench.stage import SEED
from dataset.cast import PASSWORD, email

READS_A_SECOND = 200.0
P95_AT_MOST = 1.5
EARLY = 1.0  # seconds within which a refusal comes
_SEARCH = wire.get("/booking/slots/search?limit=20")


@dataclass
class Storm:
    """What came of logins, over all rounds."""

    let_in: int = 0
    refused: int = 0
    refused_well: int = 0  # early, and told when to come again


async def login_storm(bench: Bench) -> list[Result]:
    """Measure reads without and beside logins, in turn."""
    lent = await bench.small()
    process = await bench.serve(lent, "all")
    assert process.port
    storm, quiet, beside = Storm(), list[float](), list[float]()
    seconds = bench.size.storm_seconds
    try:
        capacity = await _capacity(process.port, bench)
        # The queue is full from the beginning; otherwise half of the storm would pass before anybody is refused.
        burst = [0.0] * (lent.settings.bcrypt_queue + 8)
        await _reads(process.port, 1.0, seed=99)
        for number in range(max(1, bench.size.rounds // 2)):
            quiet.append((await _reads(process.port, seconds, seed=number)).p(95))
            at = burst + wire.arrivals(2 * capacity, seconds, seed=number)
            logins = wire.paced(process.port, _logins(bench), at, connections=len(at), patience=90)
            reads, tally = await asyncio.gather(_reads(process.port, seconds, seed=number), logins)
            beside.append(reads.p(95))
            _count(storm, tally)
    finally:
        await lent.running.stop(process)
    if not storm.refused:
        raise BenchProblem("nobody was refused: it was no storm")
    notes = {
        "logins_a_second_at_capacity": round(capacity, 2), "let_in": storm.let_in, "refused": storm.refused,
        "reads_a_second": READS_A_SECOND, "bcrypt_cost": lent.settings.bcrypt_cost,
    }  # fmt: skip
    return [
        Result(
            "reads beside a login storm, p95", "the same reads without logins", "ms", "at most", P95_AT_MOST,
            floors=tuple(quiet), values=tuple(beside), notes=notes,
        ),
        Result(
            "logins beyond capacity", "refused logins; right is 503 with Retry-After within a second", "right answers",
            "at least", 1.0, floors=(float(storm.refused),), values=(float(storm.refused_well),), notes=notes,
        ),
    ]  # fmt: skip


async def _reads(port: int, seconds: float, *, seed: int) -> wire.Tally:
    at = wire.arrivals(READS_A_SECOND, seconds, seed)
    return (await wire.paced(port, itertools.repeat(_SEARCH), at, connections=64)).require(200)


async def _capacity(port: int, bench: Bench) -> float:
    """Give the logins a second that one after the other get through, with nothing beside."""
    tally = await wire.closed(port, _logins(bench), connections=2, seconds=bench.size.storm_seconds / 3)
    return tally.require(200).rate


def _logins(bench: Bench) -> "itertools.cycle[bytes]":
    people = range(min(500, bench.size.small // 20))
    bodies = (json.dumps({"email": email("patient", number, SEED), "password": PASSWORD}).encode() for number in people)
    return itertools.cycle([wire.post("/auth/login", body) for body in bodies])


def _count(storm: Storm, tally: wire.Tally) -> None:
    tally.require(200, 503)
    refusals = tally.latencies.get(503, [])
    storm.let_in += tally.statuses[200]
    storm.refused += len(refusals)
    storm.refused_well += sum(latency <= EARLY for latency in refusals) - tally.without_retry_after
