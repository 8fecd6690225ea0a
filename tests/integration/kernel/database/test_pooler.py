"""PgBouncer in transaction mode: every transaction may get another server connection."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.servers import server_folder
from tests.support.counters import OpenDatabase, add, value_of
from tests.support.databases import TestDatabase
from tests.support.waiting import until

from telemed.kernel.ids import uuid7
from telemed.kernel.locks import lock_thing
from telemed.local.account import server_account
from telemed.local.processes import Program, free_port, is_answered

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (apt install pgbouncer)")

# Fewer server connections than clients, so that they are really shared.
CONFIGURATION = """
[databases]
{name} = host={host} port={port} dbname={name} user=telemed_api password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
"""


@pytest.fixture
async def pooled(database: TestDatabase) -> AsyncIterator[str]:
    """The services' address through a pooler of this test's own."""
    own_port = free_port()
    servers = database.servers
    with server_folder("telemed-pooler-") as (folder, guard):
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                name=database.name,
                host=servers.host,
                port=servers.port,
                password=servers.role_passwords["telemed_api"],
                own_port=own_port,
            )
        )
        configuration.chmod(0o644)
        program = Program(
            "pgbouncer",
            [str(PGBOUNCER), configuration],
            log=folder / "pgbouncer.log",
            pid_file=folder / "pgbouncer.pid",
            stop_signal=signal.SIGINT,
            account=server_account(),
        )
        running = program.start(guard)
        await until(lambda: is_answered(own_port) or running.has_ended())
        assert not running.has_ended(), running.last_words()
        yield f"postgresql://telemed_api@127.0.0.1:{own_port}/{database.name}"
        running.stop()


async def test_hundreds_of_transactions_leave_nothing_behind(
    pooled: str, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """No error, no lost increment, and no prepared statement that another client could run into."""
    db = await open_database(pooled, database_pool_size=12, database_pool_timeout_seconds=60.0)

    async def work(session: AsyncSession, number: int) -> int:
        await lock_thing(session, "counter", uuid7(number))
        await add(session, counters, 1 + number % 2)
        return int(await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")))

    leftovers = await asyncio.gather(*(db.transact(work, number) for number in range(400)))
    assert set(leftovers) <= {0, 1}  # the statement that counts may itself be one
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [200, 200]
    locks = await owner.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert locks == 0


async def test_settings_of_a_transaction_end_with_it(pooled: str, open_database: OpenDatabase) -> None:
    """`read` and `SET LOCAL` mark a transaction, not the connection that the next client gets."""
    db = await open_database(pooled, database_pool_size=4)

    async def hurry(session: AsyncSession) -> None:
        await session.execute(text("SET LOCAL lock_timeout = '17ms'"))

    async def look(session: AsyncSession) -> tuple[str, str]:
        return (
            str(await session.scalar(text("SHOW lock_timeout"))),
            str(await session.scalar(text("SHOW transaction_read_only"))),
        )

    for _ in range(10):
        assert (await db.read(look))[1] == "on"
        await db.transact(hurry)
        assert await db.transact(look) == ("0", "off")


async def test_cancelled_callers_free_their_locks_through_the_pooler(
    pooled: str, open_database: OpenDatabase, counters: str
) -> None:
    """A server connection with an abandoned transaction must not go to somebody else."""
    db = await open_database(pooled, database_pool_size=6)

    async def hold(session: AsyncSession) -> None:
        await add(session, counters, 1)
        await session.execute(text("SELECT pg_sleep(5)"))

    for _ in range(6):
        task = asyncio.create_task(db.transact(hold))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(4):
        assert await db.transact(add, counters, 1) == 1
