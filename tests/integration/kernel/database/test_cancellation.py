"""Callers that go away: their locks are freed, their connections come back, their commits complete."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, add, value_of
from tests.support.databases import TestDatabase
from tests.support.proxy import proxy_to, through
from tests.support.waiting import until

from telemed.kernel.database import Database


async def test_a_caller_that_leaves_during_a_statement_frees_its_locks(
    db: Database, counters: str, owner: asyncpg.Connection
) -> None:
    """A row that was locked by an abandoned request is free at once, not when a timeout ends it."""
    locked = asyncio.Event()

    async def lock_and_wait(session: AsyncSession) -> None:
        await add(session, counters, 1)
        locked.set()
        await session.execute(text("SELECT pg_sleep(8)"))

    for _ in range(6):  # more often than the pool has connections
        task = asyncio.create_task(db.transact(lock_and_wait))
        await locked.wait()
        await asyncio.sleep(0.02)  # let the statement begin; either side of it must be right
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        locked.clear()
        async with asyncio.timeout(2):
            await owner.fetchval(f"SELECT value FROM {counters} WHERE id = 1 FOR UPDATE")
    async with asyncio.timeout(2):
        assert await db.transact(add, counters, 1) == 1


async def test_a_caller_that_leaves_between_statements_frees_its_locks(
    db: Database, counters: str, owner: asyncpg.Connection
) -> None:
    """The same when it is the code, not the server, that is being waited for."""
    locked = asyncio.Event()

    async def lock_and_think(session: AsyncSession) -> None:
        await add(session, counters, 1)
        locked.set()
        await asyncio.sleep(30)

    for _ in range(6):
        task = asyncio.create_task(db.transact(lock_and_think))
        await locked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        locked.clear()
        async with asyncio.timeout(2):
            await owner.fetchval(f"SELECT value FROM {counters} WHERE id = 1 FOR UPDATE")


async def test_a_caller_that_leaves_twice_still_gives_the_connection_back(
    open_database: OpenDatabase, counters: str
) -> None:
    """Cancelling again while the session closes leaks nothing."""
    db = await open_database(database_pool_size=1, database_pool_timeout_seconds=2.0)
    locked = asyncio.Event()

    async def lock_and_think(session: AsyncSession) -> None:
        await add(session, counters, 1)
        locked.set()
        await asyncio.sleep(30)

    for _ in range(5):
        task = asyncio.create_task(db.transact(lock_and_think))
        await locked.wait()
        locked.clear()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
    assert await db.transact(add, counters, 1) == 1


async def test_a_caller_that_leaves_during_commit_does_not_stop_it(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The commit is finished on the caller's behalf, and the caller is cancelled only then."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        proxy.freeze_after = b"COMMIT"
        task = asyncio.create_task(db.transact(add, counters, 1))
        await until(lambda: proxy.is_frozen)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        proxy.freeze_after = None
        proxy.thaw()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await value_of(owner, counters, 1) == 1
        assert db._metrics.transactions.labels("committed")._value.get() == 1
        assert await db.transact(add, counters, 1) == 2


async def test_a_caller_that_leaves_again_while_the_session_closes_waits_for_the_rollback(
    database: TestDatabase, open_database: OpenDatabase, counters: str
) -> None:
    """The rollback is finished on the caller's behalf: its connection is whole afterwards and serves the next."""

    async def lock_and_think(session: AsyncSession) -> None:
        await add(session, counters, 1)
        await asyncio.sleep(30)

    async def backend(session: AsyncSession) -> int:
        return int(await session.scalar(text("SELECT pg_backend_pid()")))

    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_pool_size=1)
        before = await db.transact(backend)
        proxy.freeze_after = b"ROLLBACK"
        task = asyncio.create_task(db.transact(lock_and_think))
        await asyncio.sleep(0.1)
        task.cancel()
        await until(lambda: proxy.is_frozen)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        proxy.freeze_after = None
        proxy.thaw()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await db.transact(backend) == before
