"""Drills that take servers away: processes, the primary, poolers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tests.support.waiting import until
from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene

_ATTEMPTS = 3  # a busy replica may not answer in time, and its primary starts where it was; a kill may meet nobody
_UNDER_WAY = 4  # commits that a kill must meet
_VOLLEY = 24  # writes at once, of which a kill meets some
_ZOMBIE_LIVES_SECONDS = 4.0


async def rolling_restart(scene: Scene) -> int:
    """Restart every process of the application; nobody may notice."""
    since = time.monotonic()
    await scene.twin.rolling_restart()
    failed = sum(not one.is_right for one in scene.load.answers if one.due >= since)
    scene.require(failed == 0, f"{failed} requests failed during a rolling restart")
    scene.require(scene.load.resets == 0, f"{scene.load.resets} connections were reset during a rolling restart")
    return scene.answered_since(since)


async def pod_killed(scene: Scene) -> int:
    """Kill one process of booking and one of consultation in the middle of requests, and a worker with them."""
    for attempt in range(_ATTEMPTS):
        names = [f"{role}-{scene.random.randint(1, 2)}" for role in ("booking", "consultation", "worker")]
        async with _bookings_under_way(scene, wait_for_commits=attempt > 0):
            watch = scene.caller.watch()
            victims = await asyncio.gather(*(scene.twin.kill(name) for name in names))
        await scene.come_back(*victims)
        if watch.hurt:
            return watch.hurt
    return 0


@contextlib.asynccontextmanager
async def _bookings_under_way(scene: Scene, *, wait_for_commits: bool) -> AsyncIterator[None]:
    """Let many book: at any moment of it, or, as a client may learn late that most are done, before a commit is."""
    if wait_for_commits:
        async with scene.commits_waiting(_UNDER_WAY):
            yield
    else:
        await scene.volley(_VOLLEY, under_way=_VOLLEY // 2)
        yield


async def primary_killed(scene: Scene) -> int:
    """Kill the primary while commits wait for their replica; one of the replicas is promoted."""
    hits = 0
    for _ in range(_ATTEMPTS):
        hits += await _kill_primary(scene)
        if scene.promoted:
            return hits
        await scene.load.served_again()
    scene.require(scene.promoted, "no replica was promoted, so nothing could get lost")
    return hits


async def _kill_primary(scene: Scene) -> int:
    done = len(scene.twin.failovers)
    async with scene.commits_waiting(_UNDER_WAY) as waiting:
        await scene.witness.look_at(scene.twin.primary)
        await scene.twin.kill("primary")
    await scene.until_failover(done)
    scene.measured["failover_seconds"] = round(scene.twin.failovers[-1].seconds, 2)
    return waiting[0]


async def primary_kills(scene: Scene) -> int:
    """Kill one primary after the other; SIZE of them."""
    hits, kills = 0, scene.size or 100
    for _ in range(kills):
        hits += await _kill_primary(scene) > 0
        await scene.load.served_again(for_seconds=1.0)
        await scene.twin.warden.settled()
        await until(lambda: all(node.is_running for node in scene.twin.nodes), within_seconds=60)
    scene.measured["kills"] = kills
    scene.require(hits == kills, f"only {hits} of {kills} kills met a commit")
    return hits


async def zombie(scene: Scene) -> int:
    """Freeze the primary, let a replica be promoted, and let the old one wake up with its clients still attached."""
    done = len(scene.twin.failovers)
    scene.twin.warden.fence_after_seconds = _ZOMBIE_LIVES_SECONDS
    old = scene.twin.primary
    try:
        async with scene.commits_waiting(_UNDER_WAY) as waiting:
            old.freeze()
        await scene.until_failover(done)
        old.thaw()
        lived_until = time.monotonic() + _ZOMBIE_LIVES_SECONDS
        while time.monotonic() < lived_until and old.is_running:
            # Whoever still talks to it must not be told that something was done.
            await _look_if_alive(scene)
            await asyncio.sleep(0.2)
    finally:
        await scene.twin.warden.settled()
        scene.twin.warden.fence_after_seconds = 0.0
    return waiting[0]


async def _look_if_alive(scene: Scene) -> None:
    for node in scene.twin.nodes:
        with contextlib.suppress(Exception):  # it may be gone in that moment, in any way
            await scene.witness.look_at(node)


async def pooler_killed(scene: Scene) -> int:
    """Kill the pooler in front of the primary in the middle of transactions; it comes back at its address."""
    await scene.volley(_VOLLEY, under_way=_VOLLEY // 2)
    watch = scene.caller.watch()
    await scene.come_back(await scene.twin.kill("pooler-rw"))
    return watch.hurt


DRILLS = (
    Drill("rolling-restart", rolling_restart, "a release fails no request and resets no connection"),
    Drill("pod-killed", pod_killed, "a lost process loses and doubles nothing"),
    Drill("primary-killed", primary_killed, "what was acknowledged is on the promoted replica"),
    Drill("zombie", zombie, "a primary that wakes up again promises nothing and shows nothing that is not kept"),
    Drill("pooler-killed", pooler_killed, "a lost pooler loses and doubles nothing"),
    Drill("primary-kills", primary_kills, "so do SIZE kills one after the other", in_gate=False, patients=600),
)
