"""One statement that is all of a transaction: it commits by itself, with every promise of a COMMIT."""

import asyncio
import time

import asyncpg
import pytest
from tests.support.counters import OpenDatabase, TooMuch, refused_at_commit, value_of
from tests.support.databases import TestDatabase
from tests.support.proxy import proxy_to, through
from tests.support.waiting import until

from telemed.kernel.database import Database
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.direct import Direct, Row, StatementFailed
from telemed.kernel.problems import DeadlineExceeded, OutcomeUnknown, Unavailable


async def add_at_the_end(direct: Direct, counters: str, number: int, by: int = 1) -> None:
    """Operation: add to a counter."""
    direct.change_at_the_end(f"UPDATE {counters} SET value = value + $1 WHERE id = $2", by, number)


def count(db: Database, outcome: str) -> float:
    return float(db._metrics.transactions.labels(outcome)._value.get())


async def test_commits_before_it_returns_without_a_word_more(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """Visible to everybody, counted once, and neither BEGIN nor COMMIT was sent."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_pool_size=1)
        await db.read_directly(lambda direct: direct.rows("SELECT 1"))
        proxy.cut_after = b"COMMIT"
        await db.transact_directly(add_at_the_end, counters, 1)
        proxy.cut_after = b"BEGIN"
        await db.transact_directly(add_at_the_end, counters, 1)
        assert await value_of(owner, counters, 1) == 2
        assert count(db, "committed") == 3
        assert proxy.connections == 1


async def test_its_rows_are_there_when_it_has_committed(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """Not before: whoever looks at them may tell others."""
    before: list[object] = []

    async def add(direct: Direct) -> list[Row]:
        rows = direct.change_at_the_end(f"UPDATE {counters} SET value = value + 1 WHERE id < 3 RETURNING id")
        before.extend(rows)
        return rows

    rows = await db.transact_directly(add)

    assert (before, sorted(row["id"] for row in rows)) == ([], [1, 2])
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [1, 1]


async def test_is_no_part_of_a_transaction_that_has_begun(db: Database, counters: str) -> None:
    """Its answer would not be the COMMIT's, and what came before would hang in the air."""

    async def both(direct: Direct) -> None:
        await direct.change(f"UPDATE {counters} SET value = 1 WHERE id = 2 RETURNING value")
        await add_at_the_end(direct, counters, 1)

    with pytest.raises(LookupError):
        await db.transact_directly(both)


async def test_an_operation_that_fails_sends_nothing(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """The statement waits for the end of the operation, and this one has none."""

    async def fail(direct: Direct) -> None:
        await add_at_the_end(direct, counters, 1)
        raise TooMuch

    with pytest.raises(TooMuch):
        await db.transact_directly(fail)
    assert await value_of(owner, counters, 1) == 0
    assert (count(db, "rolled_back"), count(db, "committed")) == (1, 0)


async def test_what_the_server_refuses_is_a_definite_no(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """By constraint its problem, otherwise a failure; the connection serves the next one."""
    db = await open_database(
        database_pool_size=1, constraint_problems={f"{counters.removeprefix('platform.')}_small": TooMuch}
    )
    with pytest.raises(TooMuch):
        await db.transact_directly(add_at_the_end, counters, 1, 2000)
    with pytest.raises(StatementFailed):
        await db.transact_directly(add_at_the_end, "platform.nothing", 1)
    await db.transact_directly(add_at_the_end, counters, 1)
    assert await value_of(owner, counters, 1) == 1
    assert (count(db, "rolled_back"), count(db, "unknown"), count(db, "committed")) == (2, 0, 1)


async def test_what_is_checked_at_its_commit_is_refused_too(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The rows are there before the commit is; the answer waits for the commit."""
    db = await open_database(constraint_problems={await refused_at_commit(owner, counters, 5): TooMuch})
    with pytest.raises(TooMuch):
        await db.transact_directly(add_at_the_end, counters, 1, 5)
    assert await value_of(owner, counters, 1) == 0


async def test_a_standby_is_unavailable_and_nothing_is_unknown(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A former primary refuses the statement itself: nothing was done, and the connection goes."""
    db = await open_database(database_pool_size=1)
    await db.read_directly(
        lambda direct: direct.rows("SELECT set_config('default_transaction_read_only', 'on', false)")
    )
    with pytest.raises(Unavailable):
        await db.transact_directly(add_at_the_end, counters, 1)
    assert (count(db, "unknown"), count(db, "read_only")) == (0, 1)
    await db.transact_directly(add_at_the_end, counters, 1)
    assert await value_of(owner, counters, 1) == 1


async def test_a_connection_that_is_lost_meanwhile_has_an_unknown_outcome(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """It may have committed (here it has), so nobody is told that it did or did not."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        await db.transact_directly(add_at_the_end, counters, 1)
        proxy.cut_after = b"UPDATE"
        with pytest.raises(OutcomeUnknown):
            await db.transact_directly(add_at_the_end, counters, 1)
        proxy.cut_after = None
        assert await value_of(owner, counters, 1) == 2
        assert count(db, "unknown") == 1
        await db.transact_directly(add_at_the_end, counters, 1)
        assert await value_of(owner, counters, 1) == 3


async def test_one_that_is_never_answered_ends_unknown_within_the_bound(
    database: TestDatabase, open_database: OpenDatabase, counters: str
) -> None:
    """By our bound, and without a cancel request, which would stop the wait for replicas."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_command_timeout_seconds=1.0)
        await db.transact_directly(add_at_the_end, counters, 1)
        before = proxy.connections
        proxy.freeze_after = b"UPDATE"
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await db.transact_directly(add_at_the_end, counters, 1)
        assert time.monotonic() - begun < 3
        assert proxy.connections == before
        proxy.freeze_after = None
        proxy.thaw()
        await db.transact_directly(add_at_the_end, counters, 1)


async def test_a_caller_that_leaves_meanwhile_does_not_stop_it(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """It is finished on the caller's behalf, as a COMMIT is: replicas must not have another state by cancelling."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        await db.transact_directly(add_at_the_end, counters, 1)
        proxy.freeze_after = b"UPDATE"
        task = asyncio.create_task(db.transact_directly(add_at_the_end, counters, 1))
        await until(lambda: proxy.is_frozen)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        proxy.freeze_after = None
        proxy.thaw()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await value_of(owner, counters, 1) == 2
        assert count(db, "committed") == 2


async def confirmed_by_nobody(direct: Direct) -> None:
    """Operation: be told what PostgreSQL says when it acknowledges a COMMIT that no replica has confirmed."""
    direct.change_at_the_end(
        "DO $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication due to user request'; END $$"
    )


async def test_a_commit_that_no_replica_confirmed_is_unknown(db: Database) -> None:
    """PostgreSQL then acknowledges with a mere warning, before it says that it is ready."""
    with pytest.raises(OutcomeUnknown):
        await db.transact_directly(confirmed_by_nobody)
    assert (count(db, "unknown"), count(db, "committed")) == (1, 0)


async def test_it_is_unknown_to_nobody_else(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """Its caller had left by the time of the warning: the next one on its connection has a COMMIT of their own."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_pool_size=1)
        await db.transact_directly(add_at_the_end, counters, 1)
        proxy.freeze_after = b"user request"
        task = asyncio.create_task(db.transact_directly(confirmed_by_nobody))
        await until(lambda: proxy.is_frozen)
        task.cancel()
        proxy.freeze_after = None
        proxy.thaw()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (count(db, "unknown"), count(db, "committed")) == (1, 1)

        await db.transact_directly(add_at_the_end, counters, 1)
        assert await value_of(owner, counters, 1) == 2


async def test_none_begins_after_the_deadline(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """The client may have been told that nothing was done, and then nothing is."""
    deadline = Deadline(time.monotonic() + 60, writes=True)
    token = current_deadline.set(deadline)

    async def dawdle(direct: Direct) -> None:
        await add_at_the_end(direct, counters, 1)
        deadline.has_passed = True

    with pytest.raises(DeadlineExceeded):
        await db.transact_directly(dawdle)
    current_deadline.reset(token)
    assert await value_of(owner, counters, 1) == 0
    await db.transact_directly(add_at_the_end, counters, 1)
    assert await value_of(owner, counters, 1) == 1
