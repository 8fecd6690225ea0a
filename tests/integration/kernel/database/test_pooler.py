"""PgBouncer in transaction mode, as configured in services/compose/: each transaction may get another connection.

Runs against the PgBouncer of this machine, and against those that PGBOUNCER_PROGRAMS names (paths, with colons).
"""

import asyncio
import os
import re
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.servers import server_folder
from tests.support.counters import OpenDatabase, add, value_of
from tests.support.databases import TestDatabase
from tests.support.programs import require_program
from tests.twin.poolers import COMMON, CONFIGURATION, Pooler, Target, read_verifiers
from tests.twin.postgres import MONITOR

from telemed.contracts.entrance import enter
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.engine import asyncpg_url
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.ids import uuid7
from telemed.kernel.locks import lock_thing
from telemed.kernel.problems import KeyInProgress
from telemed.local import roles
from telemed.local.account import server_account
from telemed.local.processes import free_port

PASSWORD = "not-a-secret"
MORE = [path for path in os.environ.get("PGBOUNCER_PROGRAMS", "").split(":") if path]
TRANSACTIONS = 400
CLIENTS = 12
# Fewer server connections than clients, so that they are really shared.
SHARED = {"default_pool_size": "3", "reserve_pool_size": "0"}
# From here on, prepared statements follow their client, which makes some wrong settings right.
FOLLOWS_STATEMENTS = (1, 21)


@dataclass(frozen=True)
class Pooled:
    """A pooler of a test's own."""

    url: str
    version: tuple[int, int]


@pytest.fixture(params=[None, *MORE], ids=lambda path: path or "installed")
async def pooled(request: pytest.FixtureRequest, database: TestDatabase) -> AsyncIterator[Pooled]:
    """The services' address through a pooler with the repository's configuration."""
    program = request.param or require_program("pgbouncer")
    servers = database.servers
    superuser = await asyncpg.connect(servers.superuser_dsn)
    verifiers = await read_verifiers(superuser, ("telemed_api",))
    await superuser.close()
    with pooler_for(database, "pgbouncer-rw.ini", verifiers, program, **SHARED) as pooler:
        await pooler.start()
        credentials = f"telemed_api:{servers.role_passwords['telemed_api']}"
        yield Pooled(f"postgresql://{credentials}@127.0.0.1:{pooler.port}/{database.name}", _version(program))


async def test_hundreds_of_transactions_leave_nothing_behind(
    pooled: Pooled, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """No error, no lost increment, and no prepared statement that another client could run into."""
    db = await open_database(pooled.url, database_pool_size=CLIENTS, database_pool_timeout_seconds=60.0)

    async def work(session: AsyncSession, number: int) -> int:
        await lock_thing(session, "counter", uuid7(number))
        await add(session, counters, 1 + number % 2)
        return await _leftovers(session)

    leftovers = await asyncio.gather(*(db.transact(work, number) for number in range(TRANSACTIONS)))
    assert set(leftovers) <= {0, 1}  # the statement that counts may itself be one
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [TRANSACTIONS // 2] * 2
    locks = await owner.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert locks == 0


async def test_direct_statements_do_not_meet_each_other(
    pooled: Pooled, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """Looks outside of a transaction, changes inside of one, sessions among them: each gets what it asked for."""
    db = await open_database(pooled.url, database_pool_size=CLIENTS, database_pool_timeout_seconds=60.0)

    async def work(direct: Direct, number: int) -> list[int]:
        seen = [(await direct.look(f"SELECT $1::int + {number % 5}", number))[0]]
        statement = f"UPDATE {counters} SET value = value + 1 WHERE id = $1 RETURNING id + {number % 3}"
        seen.append((await direct.change(statement, 1 + number % 2))[0])
        seen.append((await direct.look("SELECT count(*)::int FROM pg_prepared_statements WHERE name <> ''"))[0])
        return seen

    async def one(number: int) -> None:
        if number % 7 == 0:
            await db.transact(add, counters, 1 + number % 2)
        else:
            wanted = [number + number % 5, 1 + number % 2 + number % 3, 0]
            assert await db.transact_directly(work, number) == wanted

    await asyncio.gather(*(one(number) for number in range(TRANSACTIONS)))
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [TRANSACTIONS // 2] * 2


async def test_statements_that_are_all_of_a_transaction_need_nothing_more(
    pooled: Pooled, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """The pooler ends a transaction by the same word of the server; each is committed when its caller goes on."""
    db = await open_database(pooled.url, database_pool_size=CLIENTS, database_pool_timeout_seconds=60.0)

    async def work(direct: Direct, number: int) -> None:
        assert (await direct.look("SELECT $1::int", number))[0] == number
        direct.change_at_the_end(f"UPDATE {counters} SET value = value + 1 WHERE id = $1", 1 + number % 2)

    await asyncio.gather(*(db.transact_directly(work, number) for number in range(TRANSACTIONS)))
    assert [await value_of(owner, counters, number) for number in (1, 2)] == [TRANSACTIONS // 2] * 2


async def test_writes_enter_and_end_in_their_own_transaction(
    pooled: Pooled, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """Each key takes effect once, each effect has its record, and no claim outlives its transaction."""
    db = await open_database(pooled.url, database_pool_size=CLIENTS, database_pool_timeout_seconds=60.0)
    run = uuid7()
    act = Act(datetime.now(UTC), request_id=str(run))

    async def work(session: AsyncSession, once: Once) -> int | None:
        if (await enter(session, None, once)).reply() is not None:
            return None
        await add(session, counters, 1)
        await append_audit(session, act, AuditEntry("counter.count", "counter"))
        once.keep(session, Reply(200, b"", {}), now=act.now)
        return await _leftovers(session)

    async def one(number: int) -> int | None:
        once = Once(str(run), "POST", "/counters", str(number // 2), b"hash")
        while True:
            try:
                return await db.transact(work, once)
            except KeyInProgress:
                await asyncio.sleep(0.01)

    ends = await asyncio.gather(*(one(number) for number in range(TRANSACTIONS)))
    assert ends.count(None) == TRANSACTIONS // 2
    assert set(ends) <= {None, 0, 1}  # the statement that counts may itself be one
    assert await value_of(owner, counters, 1) == TRANSACTIONS // 2
    for table, column in (("audit.records", "request_id"), ("platform.idempotency_keys", "caller")):
        found = await owner.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", str(run))
        assert found == TRANSACTIONS // 2
    locks = await owner.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert locks == 0


@dataclass(frozen=True)
class Recipe:
    """Settings of asyncpg and SQLAlchemy that somebody might put in place of ours."""

    connect: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)


def unique_name() -> str:
    """Name a prepared statement as SQLAlchemy's documentation recommends behind PgBouncer."""
    return f"__asyncpg_{uuid.uuid4()}__"


DEFAULT = Recipe()
NO_CACHE = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
DOCUMENTED = Recipe({"statement_cache_size": 0, "prepared_statement_name_func": unique_name}, {"poolclass": NullPool})
UNIQUE_AND_AUTOCOMMIT = Recipe(DOCUMENTED.connect, {"isolation_level": "AUTOCOMMIT"})


async def test_the_default_cache_fails(pooled: Pooled, counters: str) -> None:
    """Without `statement_cache_size=0` clients meet each other's statements: it is our setting that does it."""
    errors, _ = await trial(pooled, DEFAULT, counters)
    if pooled.version < FOLLOWS_STATEMENTS:
        assert errors > 0
    else:
        assert errors == 0


async def test_the_documented_recipe_leaks(pooled: Pooled, counters: str) -> None:
    """Unique names avoid errors, and leave statements on connections that others get."""
    errors, leftovers = await trial(pooled, DOCUMENTED, counters)
    assert errors == 0
    assert (leftovers > TRANSACTIONS / 10) == (pooled.version < FOLLOWS_STATEMENTS)


async def test_unique_names_fail_without_transactions(pooled: Pooled, counters: str) -> None:
    """Under AUTOCOMMIT a statement is prepared on one connection and executed on another."""
    errors, _ = await trial(pooled, UNIQUE_AND_AUTOCOMMIT, counters)
    assert (errors > 0) == (pooled.version < FOLLOWS_STATEMENTS)


async def test_settings_of_the_session_are_refused(pooled: Pooled) -> None:
    """What belongs to a role or a transaction cannot be sent with the connect; nobody gets it silently for others."""
    with pytest.raises(asyncpg.PostgresError, match="unsupported startup parameter"):
        await asyncpg.connect(pooled.url, server_settings={"work_mem": "1MB"})


async def test_settings_of_a_transaction_end_with_it(pooled: Pooled, open_database: OpenDatabase) -> None:
    """`read` and `SET LOCAL` mark a transaction, not the connection that the next client gets."""
    db = await open_database(pooled.url, database_pool_size=4)

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
    pooled: Pooled, open_database: OpenDatabase, counters: str
) -> None:
    """A server connection with an abandoned transaction must not go to somebody else."""
    db = await open_database(pooled.url, database_pool_size=6)

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


@pytest.mark.parametrize("shipped", ["pgbouncer-rw.ini", "pgbouncer-ro.ini"])
async def test_what_is_tuned_is_in_force(shipped: str, database: TestDatabase) -> None:
    """Every setting of the shared file counts in both poolers: PgBouncer forgets those that another section follows."""
    program = require_program("pgbouncer")
    tuned = dict(re.findall(r"^(\w+) = ?(.*)$", (CONFIGURATION / COMMON).read_text(), re.MULTILINE))
    # Addresses are the test's own; the console of 1.18 does not list the sockets' folder under this name.
    for own in ("listen_port", "auth_file"):
        del tuned[own]
    with pooler_for(database, shipped, {}, program) as pooler:
        await pooler.start()
        shown = await asyncio.to_thread(pooler.show, "CONFIG", MONITOR, PASSWORD)
    in_force = {row["key"]: row["value"] for row in shown}
    assert {name: in_force[name] for name in tuned} == tuned


def test_the_files_name_the_databases_that_the_twin_has() -> None:
    """Where docker compose and the twin differ, one of them is not what was tested."""

    def names(file: str) -> list[str]:
        return re.findall(r"^(\w+) = host=", (CONFIGURATION / file).read_text(), re.MULTILINE)

    assert names("pgbouncer-rw.ini") == [roles.DATABASE]
    assert names("pgbouncer-ro.ini") == ["telemed_replica_1", "telemed_replica_2"]


@contextmanager
def pooler_for(
    database: TestDatabase, shipped: str, verifiers: Mapping[str, str], program: str, **changes: str
) -> Iterator[Pooler]:
    """Lend a pooler in front of the test's database, not yet started."""
    servers = database.servers
    with server_folder("telemed-pooler-") as (folder, guard):
        yield Pooler(
            shipped.removesuffix(".ini"),
            shipped,
            folder / "pooler",
            guard,
            server_account(),
            port=free_port(),
            targets={database.name: Target(servers.host, servers.port, database.name)},
            verifiers={MONITOR: PASSWORD, **verifiers},
            changes=changes,
            program=program,
        )


async def trial(pooled: Pooled, recipe: Recipe, counters: str) -> tuple[int, int]:
    """Run transactions with these settings; count errors, and statements that are left on server connections."""
    engine = create_async_engine(
        asyncpg_url(pooled.url),
        connect_args=recipe.connect,
        **({"pool_size": CLIENTS, "max_overflow": 0} if "poolclass" not in recipe.engine else {}),
        **recipe.engine,
    )
    places = asyncio.Semaphore(CLIENTS)

    async def work(number: int) -> None:
        async with places, engine.connect() as connection:
            # Two statements, so that under AUTOCOMMIT another connection can come in between.
            statement = f"UPDATE {counters} SET value = value + 1 WHERE id = :id RETURNING value"
            await connection.execute(text(statement), {"id": 1 + number % 2})
            await connection.execute(
                text("SELECT count(*) FROM pg_class WHERE relpages > :pages"), {"pages": number % 7}
            )
            await connection.commit()

    ends = await asyncio.gather(*(work(number) for number in range(TRANSACTIONS)), return_exceptions=True)
    await engine.dispose()
    errors = [end for end in ends if end is not None]
    assert all(isinstance(error, DBAPIError | asyncpg.PostgresError) for error in errors), errors
    return len(errors), await _left_on_servers(pooled)


async def _leftovers(session: AsyncSession) -> int:
    return int(await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")))


async def _left_on_servers(pooled: Pooled) -> int:
    """Count on every server connection of the pool: as many transactions at once get one each."""
    clients = [
        await asyncpg.connect(pooled.url, statement_cache_size=0) for _ in range(int(SHARED["default_pool_size"]))
    ]
    count = "set_config('telemed.left', (SELECT count(*) FROM pg_prepared_statements)::text, true)"
    left = 0
    for client in clients:
        await client.execute("BEGIN")
        await client.execute(f"SELECT {count}")  # not by `fetch`, which would prepare a statement itself
        left += int(await client.fetchval("SELECT current_setting('telemed.left')"))
    for client in clients:
        await client.close()
    return left


def _version(program: str) -> tuple[int, int]:
    answer = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", answer)
    assert found, answer
    return int(found[1]), int(found[2])
