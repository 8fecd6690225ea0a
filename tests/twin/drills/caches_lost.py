"""Drills that take Redis away; everything in it may be lost at any moment."""

import asyncio
import time

from tests.support.waiting import until
from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene
from tests.twin.redis import RedisMember


async def redis_master_killed(scene: Scene) -> int:
    """Kill one master; its replica takes over, and search goes on meanwhile."""
    redis = scene.twin.redis
    masters = {node.name for node in await asyncio.to_thread(lambda: redis.cluster.primaries)}
    victim = scene.random.choice([member for member in redis.members if member.name in masters])
    since = time.monotonic()
    await scene.twin.kill(victim.name)
    await scene.wait(scene.lasts(short=6, long=30))
    await until(lambda: victim.is_running, within_seconds=30)
    _nobody_fails(scene, since)
    return scene.answered_since(since, writes=False)


async def redis_all_killed(scene: Scene) -> int:
    """Kill all six nodes; form a new, empty cluster at other addresses; the clients must find it by themselves."""
    since = time.monotonic()
    await scene.twin.kill_redis()
    await scene.wait(scene.lasts(short=3, long=15))
    hits = scene.answered_since(since, writes=False)
    await scene.twin.rebuild_redis()

    async def is_used() -> bool:
        # In a thread: a node that hangs must not hold the load up.
        return await asyncio.to_thread(lambda: sum(map(_keys, scene.twin.redis.members)) > 0)

    await until(is_used, within_seconds=40, pause_seconds=0.2)
    scene.measured["found_again_seconds"] = round(time.monotonic() - since, 1)
    _nobody_fails(scene, since)
    return hits


def _nobody_fails(scene: Scene, since: float) -> None:
    failed = sum(not one.is_served for one in scene.load.answers if one.due >= since)
    scene.require(failed == 0, f"{failed} requests failed without Redis")
    scene.measured["p95_ms_meanwhile"] = round(1000 * scene.slowest_since(since), 1)


def _keys(member: RedisMember) -> int:
    try:
        return int(member.node.command("DBSIZE").removeprefix(":"))
    except (OSError, ValueError):
        return 0


_NOTES_WITHIN_SECONDS = 5.0  # the worker's delivery, on a machine that is busy with everything else

DRILLS = (
    Drill(
        "redis-master-killed",
        redis_master_killed,
        "a lost master of the cache fails nobody",
        gone_within_seconds=_NOTES_WITHIN_SECONDS,
    ),
    Drill(
        "redis-all-killed",
        redis_all_killed,
        "the loss of the whole cache fails nobody, and a new one is found",
        gone_within_seconds=_NOTES_WITHIN_SECONDS,
    ),
)
