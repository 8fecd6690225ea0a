"""Servers that are gone, frozen, demoted, or that vanish during COMMIT."""

import asyncio
import time

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, add, value_of
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.proxy import proxy_to, through

from telemed.kernel import database as kernel_database
from telemed.kernel.database import Database
from telemed.kernel.problems import OutcomeUnknown, Overloaded, Unavailable
from telemed.local.processes import free_port


async def backend(session: AsyncSession) -> int:
    """Operation: tell which server process answers."""
    return int(await session.scalar(text("SELECT pg_backend_pid()")))


async def raise_state(session: AsyncSession, state: str) -> None:
    """Operation: let the server fail with this SQLSTATE."""
    await session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))


async def test_a_server_that_is_down_is_unavailable_at_once(open_database: OpenDatabase, events: LoggedEvents) -> None:
    """Nobody waits for a port that refuses, and the log says what is missing."""
    db = await open_database(f"postgresql://telemed_api:x@127.0.0.1:{free_port()}/telemed")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await db.transact(backend)
    assert time.monotonic() - started < 2.5
    assert events.named("database.lost")


@pytest.mark.parametrize("wrong", ["database", "password"])
async def test_a_server_that_refuses_us_is_unavailable(
    database: TestDatabase, open_database: OpenDatabase, wrong: str
) -> None:
    """A database that is gone or a password that was changed is an outage, not a bug in the request."""
    host, name = database.services.rsplit("/", 1)
    address = f"{host}/no_{name}" if wrong == "database" else database.services.replace("@", "x@", 1)
    db = await open_database(address)
    with pytest.raises(Unavailable):
        await db.transact(backend)


async def test_a_server_that_does_not_answer_is_unavailable_within_the_bound(
    database: TestDatabase, open_database: OpenDatabase
) -> None:
    """A frozen server costs the time to connect, once."""
    async with proxy_to(database.servers.port) as proxy:
        proxy.freeze()
        db = await open_database(through(proxy, database.services), database_connect_timeout_seconds=0.3)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await db.transact(backend)
        assert time.monotonic() - started < 2.5


async def test_a_server_that_freezes_during_a_statement_is_unavailable_within_the_bound(
    database: TestDatabase, open_database: OpenDatabase
) -> None:
    """An established connection that goes silent does not hold its caller for ever, nor the pool."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(
            through(proxy, database.services),
            database_connect_timeout_seconds=0.3,
            database_command_timeout_seconds=0.3,
        )
        await db.transact(backend)
        proxy.freeze()
        started = time.monotonic()
        with pytest.raises((Unavailable, Overloaded)):
            await db.transact(backend)
        assert time.monotonic() - started < 8
        proxy.thaw()
        assert await db.transact(backend)


async def test_a_connection_that_is_lost_during_commit_has_an_unknown_outcome(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The caller is not told that it failed (here it has not), and not that it succeeded."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        await db.transact(add, counters, 1)
        proxy.cut_after = b"COMMIT"
        with pytest.raises(OutcomeUnknown):
            await db.transact(add, counters, 1)
        proxy.cut_after = None
        assert await value_of(owner, counters, 1) == 2
        assert await db.transact(add, counters, 1) == 3


async def test_a_connection_that_is_lost_before_commit_is_unavailable(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """What broke before COMMIT was sent is a definite no."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))

        async def cut_off(session: AsyncSession) -> None:
            await add(session, counters, 1)
            proxy.cut()
            await session.execute(text("SELECT 1"))

        with pytest.raises(Unavailable):
            await db.transact(cut_off)
        assert await value_of(owner, counters, 1) == 0
        assert await db.transact(add, counters, 1) == 1


async def test_a_commit_that_is_never_answered_ends_unknown_within_the_bound(
    database: TestDatabase,
    open_database: OpenDatabase,
    counters: str,
    monkeypatch: pytest.MonkeyPatch,
    owner: asyncpg.Connection,
) -> None:
    """A silent server ends the wait by our bound, and it is never asked to cancel.

    A cancel would end its wait for replicas and make a commit visible that a failover can lose.
    """
    monkeypatch.setattr(kernel_database, "COMMIT_TIMEOUT_SECONDS", 30.0)
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_command_timeout_seconds=1.0)
        await db.transact(add, counters, 1)
        before = proxy.connections
        proxy.freeze_after = b"COMMIT"
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await db.transact(add, counters, 1)
        assert time.monotonic() - started < 6
        assert proxy.connections == before, "a cancel request needs a connection of its own"
        proxy.freeze_after = None
        proxy.thaw()
        assert await db.transact(add, counters, 1) == 3


@pytest.mark.parametrize("state", ["25006", "57P01", "57P03", "08006"])
async def test_a_server_that_is_no_primary_any_more_loses_its_connections(
    open_database: OpenDatabase, state: str
) -> None:
    """A demoted server answers SELECT 1 for ever; so what says "read only" must not go back into the pool."""
    db = await open_database(database_pool_size=1)
    first = await db.transact(backend)
    assert await db.transact(backend) == first
    with pytest.raises(Unavailable):
        await db.transact(raise_state, state)
    assert await db.transact(backend) != first


async def test_connections_that_an_administrator_ends_are_replaced(
    db: Database, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """After a restart of the server the first requests may fail, but the pool heals by itself."""
    pids = set(await asyncio.gather(*(db.transact(backend) for _ in range(4))))
    superuser = await asyncpg.connect(database.superuser)
    await superuser.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", list(pids))
    await superuser.close()
    failures = 0
    for _ in range(6):
        try:
            assert await db.transact(backend) not in pids
        except Unavailable:
            failures += 1
    assert failures <= 1


async def test_a_commit_that_no_replica_confirmed_has_an_unknown_outcome(
    open_database: OpenDatabase, counters: str, database: TestDatabase
) -> None:
    """Somebody cancels the wait for replicas: PostgreSQL then says COMMIT with a mere warning, and we say unknown."""
    # Synchronous replication is switched on for these sessions alone: a role setting would reach other tests.
    db = await open_database(database_command_timeout_seconds=10.0)
    superuser = await asyncpg.connect(database.superuser)
    try:
        task = asyncio.create_task(db.transact(_warned, counters))
        with pytest.raises(OutcomeUnknown):
            await task
    finally:
        await superuser.close()


async def _warned(session: AsyncSession, counters: str) -> None:
    await add(session, counters, 1)
    # The very message of PostgreSQL's SyncRepWaitForLSN; the twin test with a real replica is in the failover suite.
    await session.execute(
        text("DO $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication due to user request'; END $$")
    )
