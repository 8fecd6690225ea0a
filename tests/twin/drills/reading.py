"""Drills about reads: own writes through lagging replicas, and what is shown while there is no primary."""

import asyncio
import time

from tests.support.waiting import until
from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene
from tests.twin.history.model import Kind

_WORKERS = 8
_LAGS = (0.0, 0.2, 1.0, 3.0, 10.0)  # seconds; the first is "small"
_PAIRS = 160
_ON_PRIMARY_AT_MOST = 0.05  # share of reads at small lag
_METRIC = "telemed_database_reads_total"
_REASONS = ("behind", "unavailable", "refused", "primary_wanted")  # why the primary serves
_KNOWN_AFTER_SECONDS = 4.0  # the look-out has noticed by then
_REFUSED_WITHIN_SECONDS = 1.0
_AWAY_SECONDS = 12.0


async def own_reads(scene: Scene) -> int:
    """Write and read at once, SIZE times, while the replicas are late by 0 to 10 seconds."""
    pairs, hits = scene.size or _PAIRS, 0
    lags = _LAGS if scene.is_long or scene.size else _LAGS[:4]
    for place, lag in enumerate(lags):
        await asyncio.gather(*(replica.delay_replay(lag) for replica in scene.twin.replicas))
        before, reasons = await _reads(scene), await _reasons(scene)
        done = await _write_and_read(scene, pairs // len(lags))
        hits += done if lag else 0
        after = await _reads(scene)
        share = (after["primary"] - before["primary"]) / max(1.0, sum(after.values()) - sum(before.values()))
        scene.measured[f"on_primary_at_{lag:g}_s"] = round(share, 3)
        if place == 0:
            for reason, count in (await _reasons(scene)).items():
                scene.measured[f"because_{reason}"] = count - reasons[reason]
            scene.require(share <= _ON_PRIMARY_AT_MOST, f"{share:.1%} of reads on the primary though nothing lags")
    await asyncio.gather(*(replica.delay_replay(0) for replica in scene.twin.replicas))
    return hits


async def _write_and_read(scene: Scene, pairs: int) -> int:
    began = len(scene.caller.history)
    left = iter(range(pairs))

    async def work() -> None:
        for number in left:
            await scene.load.one(Kind.BOOK if number % 2 else Kind.CANCEL)

    await asyncio.gather(*(work() for _ in range(_WORKERS)))
    return sum(one.kind is Kind.READ for one in scene.caller.history[began:])


async def _reads(scene: Scene) -> dict[str, float]:
    return {by: await scene.metric(_METRIC, served_by=by) for by in ("primary", "replica")}


async def _reasons(scene: Scene) -> dict[str, float]:
    return {reason: await scene.metric(_METRIC, served_by="primary", reason=reason) for reason in _REASONS}


async def primary_away(scene: Scene) -> int:
    """Freeze the primary and let nobody be promoted: writes are refused at once, search goes on, all by itself."""
    primary = scene.twin.primary
    scene.twin.warden.is_watching = False
    try:
        primary.freeze()
        frozen = time.monotonic()
        await scene.wait(_AWAY_SECONDS)
        known = frozen + _KNOWN_AFTER_SECONDS
        meanwhile = [one for one in scene.load.answers if known <= one.due <= frozen + _AWAY_SECONDS - 1]
    finally:
        primary.thaw()
        # Whoever is in its queue comes first: it must not be taken for dead.
        await until(lambda: primary.is_running, within_seconds=5)
        await scene.wait(1.0)
        scene.twin.warden.is_watching = True
    searches = [one for one in meanwhile if one.kind is Kind.SEARCH]
    unserved = sum(not one.is_served for one in searches)
    slow = sum(one.took_seconds > _REFUSED_WITHIN_SECONDS for one in meanwhile)
    pending = len(scene.caller.in_flight)
    scene.measured |= {"searches": len(searches), "slow": slow, "answered": len(meanwhile), "pending": pending}
    scene.require(unserved == 0, f"{unserved} of {len(searches)} searches failed while the primary was away")
    scene.require(slow <= len(meanwhile) // 20, f"{slow} of {len(meanwhile)} answers were slow though it was known")
    return sum(one.is_write for one in meanwhile)


DRILLS = (
    Drill("own-reads", own_reads, "nobody misses an own write, and replicas bear the reads", patients=400),
    Drill("primary-away", primary_away, "while there is no primary, writes are refused fast and search goes on"),
)
