"""Drills in which nothing is lost, only late: replicas that pause, a database that is slow, clients that leave."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tests.twin.drills.delay import DelayingProxy
from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene, replica_of
from tests.twin.history.model import Kind
from tests.twin.poolers import Target

from telemed.local import roles

_SLOWER = 20


async def replica_paused(scene: Scene) -> int:
    """Let one replica show nothing new and then hang, while people look at what they have just written."""
    seconds = scene.lasts(short=5, long=30)
    replica, since = replica_of(scene), time.monotonic()
    await replica.pause_replay()
    await scene.wait(seconds)
    await replica.resume_replay()
    replica.freeze()
    await scene.wait(seconds / 2)
    replica.thaw()
    reads = sum(one.kind is Kind.READ and one.begin >= since for one in scene.caller.history)
    scene.measured["p95_ms_meanwhile"] = round(1000 * scene.slowest_since(since), 1)
    return reads


async def database_slow(scene: Scene) -> int:
    """Put a delay between pooler and primary that makes every round trip twenty times as long."""
    primary = scene.twin.primary
    async with scene.twin.connect(primary) as connection:
        started = time.perf_counter()
        for _ in range(20):
            await connection.fetchval("SELECT 1")
        usual = (time.perf_counter() - started) / 20
    # A round trip of less than a millisecond is only true on one machine.
    delay = _SLOWER * max(usual, 0.001)
    scene.measured["round_trip_ms"] = round(1000 * (usual + delay), 1)
    async with _slowed(scene, delay / 2):
        since = time.monotonic()
        await scene.wait(scene.lasts(short=8, long=60))
        scene.measured["p95_ms_meanwhile"] = round(1000 * scene.slowest_since(since), 1)
        return scene.answered_since(since, writes=True)


@contextlib.asynccontextmanager
async def _slowed(scene: Scene, seconds: float) -> AsyncIterator[None]:
    primary = scene.twin.primary
    assert primary.port is not None
    proxy = DelayingProxy(primary.port, seconds)
    await proxy.start()
    try:
        scene.twin.rw.point({roles.DATABASE: Target("127.0.0.1", proxy.port, roles.DATABASE)})
        # What runs ends where it began; let that be over.
        await asyncio.sleep(0.5)
        yield
    finally:
        scene.twin.rw.point({roles.DATABASE: Target("127.0.0.1", primary.port, roles.DATABASE)})
        await asyncio.sleep(1.0)
        await proxy.close()


DRILLS = (
    Drill("replica-paused", replica_paused, "nobody misses an own write because a replica is behind or hangs"),
    Drill("database-slow", database_slow, "a slow database is answered slowly or refused early, and loses nothing"),
)
