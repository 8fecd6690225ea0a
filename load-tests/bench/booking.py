"""Booking over HTTP against pgbench with the same statements: directly, and through PgBouncer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
from tests.support.platform import TelemedProcess
from tests.support.programs import find_program
from tests.twin.poolers import Pooler, Target, read_verifiers

from bench import wire
from bench.pgbench import Pgbench
from bench.results import Absent, BenchProblem, Result
from bench.scene import Bench
from bench.stage import Ground, asking_cores, cpu_seconds, pin
from bench.statements import ROLE, captured, script
from bench.wishes import Wishes
from telemed.local.account import server_account
from telemed.local.processes import free_port

CLIENTS = 32
TARGET = 0.45
# Each client of pgbench counts for itself, so that no two have one number.
_HEAD = "\\set i :i + 1\n\\set n :base + :client_id * :stride + :i"


async def booking(bench: Bench) -> list[Result]:
    """Measure it on the many slots."""
    lent = await bench.big()
    name = "booking over HTTP"
    return [await _against_pgbench(bench, lent, name, lent.database.services, mode="prepared")]


async def booking_through_pooler(bench: Bench) -> list[Result]:
    """Measure the same with PgBouncer in transaction mode between, for both."""
    lent = await bench.big()
    async with pooled(lent) as url:
        # No prepared statement survives a pooler in transaction mode.
        return [await _against_pgbench(bench, lent, "booking through PgBouncer", url, mode="extended")]


async def _against_pgbench(bench: Bench, lent: Ground, name: str, url: str, *, mode: str) -> Result:
    wishes = await bench.wishes(lent)
    samples = await captured(lent, _sender(wishes))
    floor = Pgbench(bench.up, url, await script(lent, samples, _HEAD), mode)
    process = await bench.serve(lent, "booking", DATABASE_URL=url)
    try:
        floors, values, cpu = await _in_turn(bench, lent, wishes, floor, process)
    finally:
        await lent.running.stop(process)
    return Result(
        name, f"pgbench -M {mode}, the same statements as the server logged them", "bookings/s", "at least", TARGET,
        floors=tuple(floors), values=tuple(values),
        notes={
            "clients": CLIENTS, "slots": bench.size.big, "synchronous_commit": "on",
            "statements": [statement.text.split("\n")[0][:100] for statement in samples[0].statements],
            "cpu_ms_of_a_booking": cpu,
        },
    )  # fmt: skip


async def _in_turn(
    bench: Bench, lent: Ground, wishes: Wishes, floor: Pgbench, process: TelemedProcess
) -> tuple[list[float], list[float], dict[str, float]]:
    floors: list[float] = []
    values: list[float] = []
    cpu: dict[str, float] = {}
    each = -(-bench.size.floor_bookings // CLIENTS)
    await book(wishes, process, max(CLIENTS, bench.size.bookings // 8))  # warms up
    for _ in range(bench.size.rounds):
        taken = await wishes.take(each * CLIENTS)
        await wishes.settle()
        floors.append(await floor.run(clients=CLIENTS, transactions=each, base=taken[0].number - 1, stride=each, i=0))
        # What pgbench counts as done may have been refused by a function: a floor that books nothing is none.
        if (booked := await wishes.booked(taken)) != len(taken):
            raise BenchProblem(f"the floor booked {booked} of {len(taken)}")
        await wishes.settle()
        before = cpu_seconds(process.running.pid), cpu_seconds(*lent.servers.postgres_pids)
        tally = await book(wishes, process, bench.size.bookings)
        values.append(tally.rate)
        used = cpu_seconds(process.running.pid) - before[0], cpu_seconds(*lent.servers.postgres_pids) - before[1]
        cpu = {"service": 1000 * used[0] / tally.requests, "postgres": 1000 * used[1] / tally.requests}
    return floors, values, cpu


async def book(wishes: Wishes, process: TelemedProcess, count: int, *, clients: int = CLIENTS) -> wire.Tally:
    """Book so many slots by so many patients over HTTP, and see that they are booked."""
    assert process.port
    taken = await wishes.take(count)
    tally = await wire.closed(process.port, iter(list(wishes.requests(taken))), connections=clients)
    if (booked := await wishes.booked(taken)) != tally.require(201).requests:
        raise BenchProblem(f"{tally.requests} bookings were acknowledged, {booked} are there")
    return tally


def _sender(wishes: Wishes) -> Callable[[int], Awaitable[dict[str, str]]]:
    async def send(port: int) -> dict[str, str]:
        (wish,) = await wishes.take(1)
        tally = await wire.closed(port, wishes.requests([wish]), connections=1)
        tally.require(201)
        return wish.expressions()

    return send


@asynccontextmanager
async def pooled(lent: Ground) -> AsyncIterator[str]:
    """Lend the services' address through a PgBouncer with the repository's configuration.

    Raises:
        Absent: it is not installed.
    """
    if find_program("pgbouncer") is None:
        raise Absent("pgbouncer is not installed: make bench-deps")
    superuser = await asyncpg.connect(lent.database.servers.superuser_dsn)
    verifiers = await read_verifiers(superuser, (ROLE,))
    await superuser.close()
    shared, name = lent.database.servers, lent.database.name
    pooler = Pooler(
        "pgbouncer", "pgbouncer-rw.ini", lent.servers.folder / "pgbouncer", lent.servers.guard, server_account(),
        port=free_port(), targets={name: Target("127.0.0.1", shared.port, name)}, verifiers=verifiers,
    )  # fmt: skip
    await pooler.start()
    try:
        assert pooler.pid
        pin(pooler.pid, asking_cores())
        yield f"postgresql://{ROLE}:{shared.role_passwords[ROLE]}@127.0.0.1:{pooler.port}/{name}"
    finally:
        await pooler.stop()
