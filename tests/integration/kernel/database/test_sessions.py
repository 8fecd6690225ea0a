"""Sessions and direct statements in one transaction, which begins and ends in one way for both."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, TooMuch, add, value_of
from tests.support.databases import TestDatabase
from tests.support.proxy import left_at, proxy_to, through

from telemed.kernel.database import Database
from telemed.kernel.direct import Direct, StatementFailed
from telemed.kernel.problems import Unavailable

BACKEND = "SELECT pg_backend_pid()"


async def add_directly(session: AsyncSession, counters: str) -> None:
    statement = f"UPDATE {counters} SET value = value + 1 WHERE id = 1 RETURNING value"
    await (await Direct.inside(session)).change(statement)


async def backend(session: AsyncSession) -> int:
    return int((await (await Direct.inside(session)).look(BACKEND))[0])


async def test_what_is_direct_and_comes_first_is_in_the_transaction(
    db: Database, counters: str, owner: asyncpg.Connection
) -> None:
    """Whether the session has said anything yet or not; an adapter that begins by itself would come too late."""

    async def fail(session: AsyncSession) -> None:
        await add_directly(session, counters)
        raise TooMuch

    with pytest.raises(TooMuch):
        await db.transact(fail)
    assert await value_of(owner, counters, 1) == 0


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_commit_that_rolled_back_is_no_success(
    db: Database, counters: str, raising: str, owner: asyncpg.Connection, is_direct: bool
) -> None:
    """COMMIT after a failed statement ends the transaction without an error; only its answer tells."""

    async def swallow(session: AsyncSession) -> None:
        await add(session, counters, 1)
        direct = await Direct.inside(session)
        said = direct.change(raising, "22000") if is_direct else session.execute(text(raising.replace("$1", "'22000'")))
        with pytest.raises((StatementFailed, DBAPIError)):
            await said

    with pytest.raises(LookupError, match="ROLLBACK"):
        await db.transact(swallow)
    assert await value_of(owner, counters, 1) == 0
    assert db._metrics.transactions.labels("committed")._value.get() == 0


@pytest.mark.parametrize("state", ["25006", "57P01", "57P03", "08006"])
async def test_a_server_that_says_to_a_direct_statement_that_it_is_no_primary_loses_its_connections(
    open_database: OpenDatabase, raising: str, state: str
) -> None:
    """As when it says so to the session: that one, and those of its age."""
    db = await open_database(database_pool_size=2)
    before = set(await asyncio.gather(*(db.transact(backend) for _ in range(2))))

    async def fail(session: AsyncSession) -> None:
        await (await Direct.inside(session)).change(raising, state)

    with pytest.raises(Unavailable):
        await db.transact(fail)
    after = set(await asyncio.gather(*(db.transact(backend) for _ in range(2))))
    assert len(before) == 2
    assert not before & after


@pytest.mark.parametrize("word", ["BEGIN", "UPDATE", "ROLLBACK"])
async def test_a_caller_that_leaves_at_any_point_leaves_nothing(
    database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection, word: str
) -> None:
    """Also while BEGIN is on its way: whether there is a transaction then is not known, so one is ended."""
    thinks = asyncio.Event()

    async def change_and_think(session: AsyncSession) -> None:
        await add(session, counters, 1)
        thinks.set()
        await asyncio.Event().wait()

    async def has_begun(session: AsyncSession) -> bool:
        return bool(await session.scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")))

    async with proxy_to(database.servers.port) as proxy:
        db = await open_database(through(proxy, database.services), database_pool_size=1)
        await db.transact(add, counters, 2)
        await left_at(proxy, word, db.transact(change_and_think), thinks)
        async with asyncio.timeout(5):
            await owner.fetchval(f"SELECT value FROM {counters} WHERE id = 1 FOR UPDATE")
        assert await value_of(owner, counters, 1) == 0
        assert not await db.transact(has_begun)
        assert await db.transact(add, counters, 1) == 1
