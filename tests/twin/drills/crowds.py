"""A crowd that wants the same slots, while everything that can be killed is."""

import asyncio

from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene
from tests.twin.history.model import Kind

_AT_ONCE = 32
_ATTEMPTS = 100_000
_ATTEMPTS_A_KILL = 1000
_VICTIMS = ("booking-1", "worker-1", "booking-2", "pooler-rw", "booking-1", "worker-2", "booking-2", "primary")


async def contended(scene: Scene) -> int:
    """Make SIZE attempts to book, a tenth as many cancellations, and kill somebody every thousand attempts."""
    attempts = scene.size or _ATTEMPTS
    left, kills = iter(range(attempts)), 0
    made = 0

    async def work() -> None:
        nonlocal made
        for number in left:
            made += 1
            await scene.load.one(Kind.CANCEL if number % 10 == 9 else Kind.BOOK)

    async def kill() -> None:
        nonlocal kills
        while made < attempts - _AT_ONCE:
            if made >= (kills + 1) * min(_ATTEMPTS_A_KILL, attempts // 8):
                await _kill(scene, _VICTIMS[kills % len(_VICTIMS)])
                kills += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(kill(), *(work() for _ in range(_AT_ONCE)))
    scene.measured |= {"attempts": made, "kills": kills}
    return kills


async def _kill(scene: Scene, name: str) -> None:
    if name == "primary":
        await scene.twin.warden.settled()
        done = len(scene.twin.failovers)
        await scene.twin.kill(name)
        await scene.until_failover(done)
    else:
        await scene.come_back(await scene.twin.kill(name))


DRILLS = (
    Drill(
        "contended",
        contended,
        "SIZE contended attempts to book, with kills: each slot has one appointment at a time",
        in_gate=False,
        per_second=2.0,
        patients=600,
        slots=25,
    ),
)
