"""Clients that leave in the middle of their COMMIT: what they began is finished as if they had stayed."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator

import asyncpg
from tests.support.waiting import until
from tests.twin.drills.drill import Drill
from tests.twin.drills.scene import Scene
from tests.twin.history.model import Kind, Operation, Outcome
from tests.twin.load.caller import Person, Wish

_WAVE = 20  # clients at once: some more than the two processes have connections
_NOTICED_WITHIN_SECONDS = 0.3  # how long a process needs to see that a client has gone, and to act on it
_ALL = 500
_LAST_WAVES = 3  # a busy replica may not answer in time; then the primary is started again where it was


async def clients_leave(scene: Scene) -> int:
    """Let 500 clients leave while their COMMIT waits for a replica; then lose the primary while the last ones do.

    A COMMIT that is cancelled becomes visible although no replica has it. Losing the primary in that moment makes what
    was seen untrue, which is what the shield is for.
    """
    people, left = _people(scene), scene.size or _ALL
    hits = 0
    while left > _WAVE:
        hits += await _leave(scene, [next(people) for _ in range(_WAVE)], kills=False)
        left -= _WAVE
    for _ in range(_LAST_WAVES):
        # Those who came back to ask are many; with all of them about, no replica would be elected in time.
        await until(lambda: len(scene.caller.in_flight) < _WAVE, within_seconds=60)
        hits += await _leave(scene, [next(people) for _ in range(_WAVE)], kills=True)
        if scene.promoted:
            return hits
        await scene.load.served_again()
    scene.require(scene.promoted, "no replica was promoted, so nothing could get lost")
    return hits


async def _leave(scene: Scene, wave: list[tuple[Person, Wish]], *, kills: bool) -> int:
    done = len(scene.twin.failovers)
    async with scene.commits_waiting(0) as _:
        since = time.monotonic()
        opened = await asyncio.gather(*(_ask(scene, person, wish) for person, wish in wave))
        hits = await _commits(scene)
        for writer in opened:
            writer.transport.abort()
        for person, wish in wave:
            scene.caller.history.append(_never_answered(person, wish, since))
        await asyncio.sleep(_NOTICED_WITHIN_SECONDS if kills else 0.05)
        if kills:
            await scene.witness.look_at(scene.twin.primary)
            await scene.twin.kill("primary")
    for person, wish in wave:
        scene.load.adopt(person, wish)  # and find out what became of it, as a client that comes back does
    if kills:
        await scene.until_failover(done)
    return hits


async def _ask(scene: Scene, person: Person, wish: Wish) -> asyncio.StreamWriter:
    """Send the request to a process of booking, past the gateway, which would wait for the answer in our place."""
    process = scene.twin.process(f"booking-{scene.random.randint(1, 2)}")
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    body = json.dumps(wish.body).encode()
    head = (
        f"POST {wish.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {scene.people.token(person.user)}\r\n"
        f"Idempotency-Key: {wish.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    return writer


async def _commits(scene: Scene, *, within_seconds: float = 1.0) -> int:
    """Wait until no more commits come to wait for a replica, or a wave's worth does; gives how many."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    deadline, waiting = time.monotonic() + within_seconds, -1
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
        async with scene.twin.connect(scene.twin.primary, "superuser") as connection:
            while time.monotonic() < deadline:
                found = int(await connection.fetchval(query))
                if found == waiting > 0 or found >= _WAVE // 2:
                    waiting = found
                    break
                waiting = found
                await asyncio.sleep(0.05)
    return max(waiting, 0)


def _people(scene: Scene) -> Iterator[tuple[Person, Wish]]:
    """Give patients who are free, each with a slot to book."""
    while True:
        person, wish = scene.load.free_patient(Kind.BOOK)
        person.is_busy = True
        yield person, wish


def _never_answered(person: Person, wish: Wish, since: float) -> Operation:
    return Operation(
        kind=Kind.BOOK,
        client=person.id,
        begin=since,
        end=time.monotonic(),
        outcome=Outcome.UNKNOWN,
        key=wish.key,
        slot=wish.slot,
    )


DRILLS = (
    Drill(
        "clients-gone",
        clients_leave,
        "a client that leaves during COMMIT does not decide what replicas have",
        patients=700,
        slots=60,
    ),
)
