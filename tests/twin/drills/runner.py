"""Runs one drill on a running twin and judges it."""

import asyncio
import time
from collections import Counter

import httpx
from tests.support.ledger import caught_up, faults, let_leases_run_out, undelivered
from tests.support.people import People
from tests.twin.drills.drill import Drill, Guard
from tests.twin.drills.findings import Witness, final_of, recovered
from tests.twin.drills.results import Result, write_history
from tests.twin.drills.scene import Scene
from tests.twin.history.checker import check
from tests.twin.history.faults import DOUBLES, GHOSTS, LOSSES, STALE, Fault, Violation
from tests.twin.history.model import Final, Kind, Outcome, requests_of
from tests.twin.load.availability import percentile, unavailable_seconds
from tests.twin.load.caller import Caller
from tests.twin.load.load import Load
from tests.twin.load.population import settle
from tests.twin.twin import Twin

from telemed.cli import DEPLOYABLES
from telemed.kernel.clock import SystemClock
from telemed.local import roles

_WARM_SECONDS = 2.0  # of load before anything is broken
_LOOKS = frozenset({Kind.READ, Kind.LIST, Kind.SEARCH})


async def run_drill(
    twin: Twin, drill: Drill, seed: int, *, size: int | None = None, is_long: bool = False, guard: Guard | None = None
) -> Result:
    """Break the twin while people use it, wait until it has recovered, and judge what they saw and what is left."""
    started, result = time.monotonic(), Result(drill.name, seed)
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=100, keepalive_expiry=20)
    async with twin.client(limits=limits) as client:
        try:
            await recovered(twin)
            scene = await _set_up(twin, drill, seed, client, drops_token=guard is not None and guard.drops_token)
        except Exception as error:  # noqa: BLE001 - one drill that cannot begin must not end the others
            result.reasons.append(f"could not begin: {_said(error)}")
            return result
        scene.size, scene.is_long = size, is_long
        scene.load.start()
        scene.witness.start()
        try:
            await asyncio.sleep(_WARM_SECONDS)
            result.hits = await drill.act(scene)
            await scene.load.served_again()
        except Exception as error:  # noqa: BLE001 - whatever it was, the drill has not passed
            scene.complaints.append(_said(error))
        unsettled = await scene.load.stop()
        scene.complaints += [f"never settled: {one}" for one in unsettled]
        await _judge(scene, result, drill.gone_within_seconds)
    result.took_seconds = round(time.monotonic() - started, 1)
    return result


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


async def _set_up(twin: Twin, drill: Drill, seed: int, client: httpx.AsyncClient, *, drops_token: bool) -> Scene:
    people = People(client, twin.primary.dsn(roles.OWNER), twin.settings, SystemClock())
    caller = Caller(client, people, drops_token=drops_token)
    population = await settle(
        people, caller, doctors=drill.doctors, slots=drill.slots, patients=drill.patients, key_prefix=str(seed)
    )
    load = Load(caller, population, seed=seed, per_second=drill.per_second)
    return Scene(twin, load, caller, people, population, Witness(twin, population), seed)


async def _judge(scene: Scene, result: Result, gone_within_seconds: float) -> None:
    final = None
    try:
        final = await _settled(scene)
    except Exception as error:  # noqa: BLE001 - no final state, no pass
        scene.complaints.append(f"not recovered: {_said(error)}")
    await scene.witness.stop()
    history = scene.caller.history
    violations = await asyncio.to_thread(check, history, final, gone_within_seconds=gone_within_seconds)
    strict = await asyncio.to_thread(check, history)
    scene.measured["search_late"] = sum(one.fault is Fault.SEARCH_SHOWS_BOOKED for one in strict)
    # Two replicas may be apart, and only its own writes bind a client: counted, but promised to nobody.
    backwards = [one for one in violations if one.fault is Fault.READ_BACKWARDS]
    violations = [one for one in violations if one.fault is not Fault.READ_BACKWARDS]
    scene.measured["reads_backwards"] = len(backwards)
    _count(result, violations, scene)
    offences = sorted(set(scene.caller.offences))
    broken = [f"the load broke: {error!r}" for error in scene.load.broken[:3]]
    result.reasons = [*scene.complaints, *broken, *(f"answered {one}" for one in offences), *map(str, violations)]
    if result.hits == 0:
        result.reasons.append("the fault hit nothing")
    result.passed = not result.reasons
    if violations:
        write_history(result, scene.caller.history)


async def _settled(scene: Scene) -> Final:
    """Wait until the twin is whole and everything is delivered; give what is there, the ledger's rules held."""
    twin = scene.twin
    await recovered(twin)
    async with twin.connect() as owner:
        await let_leases_run_out(owner)
        await caught_up(owner, within_seconds=60)
        difference = await undelivered(owner, DEPLOYABLES["all"])
        scene.require(not difference, f"{len(difference)} events handled by others than those who asked for them")
    await recovered(twin)
    for node in (twin.primary, *twin.replicas):
        async with twin.connect(node) as connection:
            for name, rows in (await faults(connection)).items():
                scene.complaints.append(f"{name} on {node.name}: {', '.join(rows[:3])}")
    return await final_of(twin, scene.population, scene.witness.seen)


def _count(result: Result, violations: list[Violation], scene: Scene) -> None:
    answers = scene.load.answers
    requests = requests_of(scene.caller.history)
    result.acked = sum(one.outcome is Outcome.OK and one.kind not in _LOOKS for one in requests)
    result.lost = sum(one.fault in LOSSES for one in violations)
    result.doubled = sum(one.fault in DOUBLES for one in violations)
    result.ghosts = sum(one.fault in GHOSTS for one in violations)
    result.stale_reads = sum(one.fault in STALE for one in violations)
    result.requests, result.resets = len(answers), scene.load.resets
    result.failed_requests = sum(not one.is_right for one in answers)
    result.unavailable_writes_seconds = round(unavailable_seconds(answers, writes=True), 2)
    result.unavailable_reads_seconds = round(unavailable_seconds(answers, writes=False), 2)
    result.unavailable_seconds = max(result.unavailable_writes_seconds, result.unavailable_reads_seconds)
    result.p95_ms = round(1000 * percentile([one.took_seconds for one in answers], 0.95), 1)
    result.failed_by = dict(Counter(one.said for one in answers if not one.is_right))
    result.measured = scene.measured
