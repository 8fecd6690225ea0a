"""Direct transactions: past SQLAlchemy, and with every promise of `transact`."""

import asyncio
import time

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, TooMuch, add, refused_at_commit, value_of
from tests.support.databases import TestDatabase
from tests.support.proxy import left_at, proxy_to, through
from tests.support.waiting import until

from telemed.kernel import database as kernel_database
from telemed.kernel.database import MAX_ATTEMPTS, Database
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.direct import Direct, StatementFailed
from telemed.kernel.problems import DeadlineExceeded, OutcomeUnknown, Overloaded, Unavailable

BACKEND = "SELECT pg_backend_pid()"


async def add_directly(direct: Direct, counters: str, number: int, by: int = 1) -> int:
    """Operation: add to a counter and give its value."""
    statement = f"UPDATE {counters} SET value = value + $1 WHERE id = $2 RETURNING value"
    return int((await direct.change(statement, by, number))[0])


async def backend(direct: Direct) -> int:
    """Operation: tell which server process answers."""
    return int((await direct.look(BACKEND))[0])


def count(db: Database, outcome: str) -> float:
    """Read the counter of transactions that ended so."""
    return float(db._metrics.transactions.labels(outcome)._value.get())


async def test_commits_before_it_returns(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """What a caller is told has happened is visible to everybody at that moment."""
    assert await db.transact_directly(add_directly, counters, 1) == 1
    assert await value_of(owner, counters, 1) == 1
    assert count(db, "committed") == 1


async def test_a_look_begins_nothing(db: Database, counters: str) -> None:
    """Whoever leaves after it holds no snapshot and no lock; the first change begins the transaction."""
    seen = []

    async def look_then_change(direct: Direct) -> None:
        await backend(direct)
        seen.append(direct.connection.is_in_transaction())
        await add_directly(direct, counters, 1)
        seen.append(direct.connection.is_in_transaction())

    await db.transact_directly(look_then_change)
    assert seen == [False, True]


async def test_gives_every_row_in_order(db: Database) -> None:
    """Of a statement that has many, and of one that has none."""

    async def count_to(direct: Direct, last: int) -> list[int]:
        return [row[0] for row in await direct.rows("SELECT n FROM generate_series(1, $1::int) AS n ORDER BY n", last)]

    assert await db.transact_directly(count_to, 5) == [1, 2, 3, 4, 5]
    assert await db.transact_directly(count_to, 0) == []


async def test_a_direct_read_begins_nothing_and_refuses_writes(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """It holds no snapshot while it thinks; what changes something is refused by the server, as in `read`."""
    db = await open_database(database_pool_size=1)

    async def look(direct: Direct) -> bool:
        await direct.rows(BACKEND)
        return direct.connection.is_in_transaction()

    assert not await db.read_directly(look)
    with pytest.raises(Unavailable):
        await db.read_directly(lambda direct: add_directly(direct, counters, 1))
    assert await value_of(owner, counters, 1) == 0
    assert not await db.read_directly(look)


async def test_a_direct_read_is_bounded_and_counted_as_any(database: TestDatabase, open_database: OpenDatabase) -> None:
    """A server that does not answer makes it unavailable within the bound; its connection does not come back."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(
            through(proxy, database.services), database_pool_size=1, database_command_timeout_seconds=0.5
        )
        first = await db.read_directly(backend)
        assert count(db, "committed") == 1
        proxy.freeze_after = b"pg_sleep"
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await db.read_directly(lambda direct: direct.rows("SELECT pg_sleep(0)"))
        assert time.monotonic() - begun < 3
        proxy.freeze_after = None
        proxy.thaw()
        assert count(db, "rolled_back") == 1
        db.availability.answered()
        assert await db.read_directly(backend) != first


async def test_rolls_back_what_raised(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """An operation that fails has not happened, and its connection serves the next one."""

    async def fail(direct: Direct) -> None:
        await add_directly(direct, counters, 1)
        raise TooMuch

    for _ in range(10):
        with pytest.raises(TooMuch):
            await db.transact_directly(fail)
    assert await value_of(owner, counters, 1) == 0
    assert count(db, "rolled_back") == 10
    assert await db.transact(add, counters, 1) == 1


async def test_takes_its_connections_from_the_one_pool(open_database: OpenDatabase, counters: str) -> None:
    """Sessions and direct transactions share them, and their gauge."""
    db = await open_database(database_pool_size=1, database_pool_timeout_seconds=0.2)

    async def hold(direct: Direct) -> float:
        await add_directly(direct, counters, 1)
        with pytest.raises(Overloaded):
            await db.transact(add, counters, 2)
        with pytest.raises(Overloaded):
            await db.transact_directly(backend)
        (sample,) = db._metrics.pool_in_use.labels("primary")._samples()
        return sample.value

    assert await db.transact_directly(hold) == 1
    assert count(db, "no_connection") == 2


async def test_leaves_no_prepared_statement_behind(open_database: OpenDatabase) -> None:
    """A pooler may give the server's connection to anybody, at any time."""
    db = await open_database(database_pool_size=1)

    async def left(direct: Direct, number: int) -> int:
        await direct.look("SELECT $1::int + 1", number)
        await direct.change("SELECT $1::int + 2", number)
        return int((await direct.look("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"))[0])

    assert {await db.transact_directly(left, number) for number in range(20)} == {0}


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_runs_a_lost_race_again(db: Database, raising: str, state: str) -> None:
    """With its look, a bounded number of times."""
    looks = 0

    async def always_loses(direct: Direct) -> None:
        nonlocal looks
        await backend(direct)
        looks += 1
        await direct.change(raising, state)

    with pytest.raises(Overloaded):
        await db.transact_directly(always_loses)
    assert looks == MAX_ATTEMPTS
    assert count(db, "retried") == MAX_ATTEMPTS - 1


async def test_a_named_constraint_becomes_its_problem(open_database: OpenDatabase, counters: str) -> None:
    """The service's word for it; what nobody has a word for stays a failure of ours."""
    db = await open_database(constraint_problems={f"{counters.removeprefix('platform.')}_small": TooMuch})
    with pytest.raises(TooMuch):
        await db.transact_directly(add_directly, counters, 1, 2000)
    with pytest.raises(StatementFailed):
        await db.transact_directly(add_directly, "platform.nothing", 1)


async def test_a_failure_says_nothing_of_the_row(db: Database, counters: str) -> None:
    """PostgreSQL quotes it; the text of an exception may go anywhere."""
    with pytest.raises(StatementFailed) as failed:
        await db.transact_directly(add_directly, counters, 1, 2000)
    assert str(failed.value) == "CheckViolationError"


async def test_a_constraint_that_is_checked_at_commit_becomes_its_problem(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A refusal that comes with COMMIT is a definite no, not an unknown outcome."""
    db = await open_database(constraint_problems={await refused_at_commit(owner, counters, 5): TooMuch})
    with pytest.raises(TooMuch):
        await db.transact_directly(add_directly, counters, 1, 5)
    assert await value_of(owner, counters, 1) == 0


async def test_a_commit_that_rolled_back_is_no_success(
    db: Database, counters: str, raising: str, owner: asyncpg.Connection
) -> None:
    """COMMIT after a failed statement ends the transaction without an error; only its answer tells."""

    async def swallow(direct: Direct) -> None:
        await add_directly(direct, counters, 1)
        with pytest.raises(StatementFailed):
            await direct.change(raising, "22000")

    with pytest.raises(LookupError, match="ROLLBACK"):
        await db.transact_directly(swallow)
    assert await value_of(owner, counters, 1) == 0
    assert count(db, "committed") == 0


async def test_no_commit_begins_after_the_deadline(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """The client may have been told that nothing was done, and then nothing is."""
    deadline = Deadline(time.monotonic() + 60, writes=True)
    token = current_deadline.set(deadline)

    async def dawdle(direct: Direct) -> None:
        await add_directly(direct, counters, 1)
        deadline.has_passed = True

    with pytest.raises(DeadlineExceeded):
        await db.transact_directly(dawdle)
    current_deadline.reset(token)
    assert await value_of(owner, counters, 1) == 0
    assert await db.transact_directly(add_directly, counters, 1) == 1


@pytest.mark.parametrize("state", ["25006", "57P01", "57P03", "08006"])
async def test_a_server_that_is_no_primary_any_more_loses_its_connections(
    open_database: OpenDatabase, raising: str, state: str
) -> None:
    """The one that said so, and those of its age."""
    db = await open_database(database_pool_size=2)
    before = set(await asyncio.gather(*(db.transact_directly(backend) for _ in range(2))))

    async def fail(direct: Direct) -> None:
        await direct.change(raising, state)

    with pytest.raises(Unavailable):
        await db.transact_directly(fail)
    after = set(await asyncio.gather(*(db.transact_directly(backend) for _ in range(2))))
    assert not before & after


async def test_a_backend_that_is_ended_meanwhile_is_unavailable(
    open_database: OpenDatabase, database: TestDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A definite no: COMMIT was not sent. The next one has another connection."""
    db = await open_database(database_pool_size=1)
    superuser = await asyncpg.connect(database.superuser)

    async def ended(direct: Direct) -> None:
        await add_directly(direct, counters, 1)
        await superuser.execute("SELECT pg_terminate_backend($1)", await backend(direct))
        await direct.change("SELECT pg_sleep(10)")

    with pytest.raises(Unavailable):
        await db.transact_directly(ended)
    await superuser.close()
    assert await value_of(owner, counters, 1) == 0
    assert await db.transact_directly(add_directly, counters, 1) == 1


async def test_a_connection_that_is_lost_during_commit_has_an_unknown_outcome(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The caller is not told that it failed (here it has not), and not that it succeeded."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        await db.transact_directly(add_directly, counters, 1)
        proxy.cut_after = b"COMMIT"
        with pytest.raises(OutcomeUnknown):
            await db.transact_directly(add_directly, counters, 1)
        proxy.cut_after = None
        assert await value_of(owner, counters, 1) == 2
        assert count(db, "unknown") == 1
        assert await db.transact_directly(add_directly, counters, 1) == 3


async def test_a_commit_that_is_never_answered_ends_unknown_within_the_bound(
    database: TestDatabase, open_database: OpenDatabase, counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By our bound, and without a cancel request, which would stop the wait for replicas."""
    monkeypatch.setattr(kernel_database, "COMMIT_TIMEOUT_SECONDS", 30.0)
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_command_timeout_seconds=1.0)
        await db.transact_directly(add_directly, counters, 1)
        before = proxy.connections
        proxy.freeze_after = b"COMMIT"
        with pytest.raises(OutcomeUnknown):
            await db.transact_directly(add_directly, counters, 1)
        assert proxy.connections == before, "a cancel request needs a connection of its own"
        proxy.freeze_after = None
        proxy.thaw()
        assert await db.transact_directly(add_directly, counters, 1) == 3


async def test_a_caller_that_leaves_during_commit_does_not_stop_it(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The commit is finished on the caller's behalf, and the caller is cancelled only then."""
    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services))
        proxy.freeze_after = b"COMMIT"
        task = asyncio.create_task(db.transact_directly(add_directly, counters, 1))
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
        assert count(db, "committed") == 1
        assert await db.transact_directly(add_directly, counters, 1) == 2


@pytest.mark.parametrize("word", ["BEGIN", "UPDATE", "ROLLBACK"])
async def test_a_caller_that_leaves_at_any_point_leaves_nothing(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection, word: str
) -> None:
    """Also while BEGIN is on its way: whether there is a transaction then is not known, so one is ended."""
    thinks = asyncio.Event()

    async def change_and_think(direct: Direct) -> None:
        await add_directly(direct, counters, 1)
        thinks.set()
        await asyncio.Event().wait()

    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_pool_size=1)
        await db.transact_directly(add_directly, counters, 2)
        await left_at(proxy, word, db.transact_directly(change_and_think), thinks)
        async with asyncio.timeout(5):
            await owner.fetchval(f"SELECT value FROM {counters} WHERE id = 1 FOR UPDATE")
        assert await value_of(owner, counters, 1) == 0

        async def in_transaction(direct: Direct) -> bool:
            await backend(direct)
            return direct.connection.is_in_transaction()

        assert not await db.transact_directly(in_transaction)
        assert await db.transact_directly(add_directly, counters, 1) == 1


async def test_a_session_can_run_direct_statements(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """In its own transaction, which they neither begin nor end."""

    async def both(session: AsyncSession) -> None:
        await add(session, counters, 1)
        await add_directly(await Direct.inside(session), counters, 1)
        raise TooMuch

    with pytest.raises(TooMuch):
        await db.transact(both)
    assert await value_of(owner, counters, 1) == 0


async def test_a_session_prepares_a_direct_statement_once_for_each_connection(open_database: OpenDatabase) -> None:
    """What was learned of a statement stays with its connection, whoever learned it."""
    db = await open_database(database_pool_size=1)

    async def kept(session: AsyncSession) -> int:
        direct = await Direct.inside(session)
        await direct.rows(BACKEND)
        return id(direct._prepared[BACKEND])

    first = await db.read(kept)
    await db.read_directly(backend)
    assert await db.read(kept) == first
