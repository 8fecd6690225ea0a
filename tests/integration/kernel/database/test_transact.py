"""Transactions: what `transact` promises while the server is well."""

import asyncio
import time

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, TooMuch, add, refused_at_commit, value_of
from tests.support.waiting import until

from telemed.kernel.database import MAX_ATTEMPTS, Database
from telemed.kernel.problems import Overloaded, Unavailable


async def test_commits_before_it_returns(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """What a caller is told has happened is visible to everybody at that moment."""
    assert await db.transact(add, counters, 1) == 1
    assert await value_of(owner, counters, 1) == 1


async def test_rolls_back_what_raised(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """An operation that fails has not happened, and its connection serves the next one."""

    async def fail(session: AsyncSession) -> None:
        await add(session, counters, 1)
        raise TooMuch

    for _ in range(10):
        with pytest.raises(TooMuch):
            await db.transact(fail)
    assert await value_of(owner, counters, 1) == 0
    assert await db.transact(add, counters, 1) == 1


async def test_runs_a_lost_serialization_race_again(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """Twelve serializable increments at once all take effect, however often they collide."""

    async def increment(session: AsyncSession) -> None:
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        value = await session.scalar(text(f"SELECT value FROM {counters} WHERE id = 1"))
        await asyncio.sleep(0.01)
        await session.execute(text(f"UPDATE {counters} SET value = :value WHERE id = 1"), {"value": value + 1})

    results = await asyncio.gather(*(db.transact(increment) for _ in range(12)), return_exceptions=True)
    lost = [result for result in results if result is not None]
    assert all(isinstance(result, Overloaded) for result in lost)
    assert await value_of(owner, counters, 1) == 12 - len(lost)
    assert db._metrics.transactions.labels("retried")._value.get() > 0


async def test_runs_the_victim_of_a_deadlock_again(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """Two transactions that lock two rows in opposite order both succeed."""
    met = asyncio.Barrier(2)
    attempts = {1: 0, 2: 0}

    async def both(session: AsyncSession, first: int, second: int) -> None:
        attempts[first] += 1
        await add(session, counters, first)
        if attempts[first] == 1:
            await met.wait()
        await add(session, counters, second)

    await asyncio.gather(db.transact(both, 1, 2), db.transact(both, 2, 1))
    assert sum(attempts.values()) == 3
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [2, 2]


async def test_gives_up_after_its_attempts(db: Database) -> None:
    """A transaction that always loses ends as a problem, not as an endless loop."""
    attempts = 0

    async def always_loses(session: AsyncSession) -> None:
        nonlocal attempts
        attempts += 1
        await session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

    with pytest.raises(Overloaded):
        await db.transact(always_loses)
    assert attempts == MAX_ATTEMPTS


async def test_a_named_constraint_becomes_its_problem(open_database: OpenDatabase, counters: str) -> None:
    """The service's word for a violated constraint reaches the caller."""
    db = await open_database(constraint_problems={f"{counters.removeprefix('platform.')}_small": TooMuch})
    with pytest.raises(TooMuch):
        await db.transact(add, counters, 1, 2000)


async def test_a_constraint_that_is_checked_at_commit_becomes_its_problem(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A refusal that comes with COMMIT is a definite no, not an unknown outcome."""
    db = await open_database(constraint_problems={await refused_at_commit(owner, counters, 5): TooMuch})
    with pytest.raises(TooMuch):
        await db.transact(add, counters, 1, 5)
    assert await value_of(owner, counters, 1) == 0


async def test_an_exhausted_pool_refuses_within_its_bound(open_database: OpenDatabase) -> None:
    """Who gets no connection in time is told to come back, and those who have one go on."""
    db = await open_database(database_pool_size=1, database_pool_timeout_seconds=0.2)
    holding, release = asyncio.Event(), asyncio.Event()

    async def hold(session: AsyncSession) -> str:
        await session.execute(text("SELECT 1"))
        holding.set()
        await release.wait()
        return "done"

    holder = asyncio.create_task(db.transact(hold))
    await holding.wait()
    started = time.monotonic()
    with pytest.raises(Overloaded):
        await db.transact(hold)
    assert time.monotonic() - started < 2.5
    release.set()
    assert await holder == "done"


async def test_read_refuses_writes(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """Nothing that `read` runs can change anything."""
    with pytest.raises(Unavailable):
        await db.read(add, counters, 1)
    assert await value_of(owner, counters, 1) == 0


async def test_a_lock_timeout_is_overload(db: Database, counters: str) -> None:
    """Waiting for a row has a bound, and its end is a problem that names no culprit."""
    locked, release = asyncio.Event(), asyncio.Event()

    async def hold(session: AsyncSession) -> None:
        await add(session, counters, 1)
        locked.set()
        await release.wait()

    async def impatient(session: AsyncSession) -> None:
        await session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await add(session, counters, 1)

    holder = asyncio.create_task(db.transact(hold))
    await locked.wait()
    with pytest.raises(Overloaded):
        await db.transact(impatient)
    release.set()
    await holder


async def test_an_abandoned_transaction_is_ended_by_the_server(db: Database) -> None:
    """The database itself bounds statements and idle transactions, whatever a client forgets."""

    async def limits(session: AsyncSession) -> list[str]:
        names = ("idle_in_transaction_session_timeout", "statement_timeout")
        return [str(await session.scalar(text(f"SHOW {name}"))) for name in names]

    assert await db.read(limits) == ["15s", "10s"]


async def test_leaves_no_prepared_statement_behind(open_database: OpenDatabase) -> None:
    """A server connection carries nothing from one transaction to the next: a pooler may give it to anybody."""
    db = await open_database(database_pool_size=1)

    async def work(session: AsyncSession, number: int) -> int:
        await session.execute(text("SELECT CAST(:n AS int) + 1"), {"n": number})
        return int(await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")))

    leftovers = [await db.transact(work, number) for number in range(50)]
    # The statement that counts is itself one for as long as it runs.
    assert set(leftovers) <= {0, 1}


async def test_waits_are_counted_out_when_the_caller_goes(db: Database, counters: str) -> None:
    """The gauges of connections and of who waits for one return to zero whatever becomes of the callers."""
    tasks = [asyncio.create_task(db.transact(add, counters, 1)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gauges = (db._metrics.pool_in_use.labels("primary"), db._metrics.pool_waiting.labels("primary"))
    await until(lambda: [sample.value for gauge in gauges for sample in gauge._samples()] == [0, 0])
