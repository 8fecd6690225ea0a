"""0006 sets the old tables aside and loses nothing of them, both ways."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy.ext.asyncio import create_async_engine
from tests.servers import TestServers
from tests.support.databases import TestDatabase, unused_name
from tests.support.months import id_in, instant_in, months_ago

from telemed.audit.chain.operations import chain_records
from telemed.kernel.engine import Session, asyncpg_url
from telemed.kernel.ids import uuid7
from telemed.migrations.runner import _config, migrate

RECORDS = """
    INSERT INTO audit.records
    SELECT id, now(), NULL, NULL, 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '', '{"n": 1.0}'
    FROM unnest($1::uuid[]) AS id
"""
EVENTS = """
    INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at)
    SELECT gen_random_uuid(), 'thing.made', '{}', '', at, at FROM unnest($1::timestamptz[]) AS at
"""
ROWS = {
    "records": "SELECT r::text FROM audit.records AS r ORDER BY 1",
    "outbox": "SELECT o::text FROM platform.outbox AS o ORDER BY 1",
    "chain": "SELECT c::text FROM audit.chain AS c ORDER BY 1",
    "unchained": "SELECT u::text FROM audit.unchained AS u ORDER BY 1",
}


@pytest.fixture
def old_database(test_servers: TestServers) -> Iterator[TestDatabase]:
    """A database of the release before, without a row."""
    made = TestDatabase(test_servers, unused_name("old"))
    test_servers.create_database(made.name)
    migrate(made.owner, "0005")
    yield made
    test_servers.drop_database(made.name)


def ask(database: TestDatabase, *statements: tuple[str, *tuple[Any, ...]]) -> list[list[str]]:
    """Run the statements as the owner, and give their rows as text."""

    async def run() -> list[list[str]]:
        connection = await asyncpg.connect(database.owner)
        try:
            return [[str(row[0]) for row in await connection.fetch(*statement)] for statement in statements]
        finally:
            await connection.close()

    return asyncio.run(run())


def chain_all(database: TestDatabase) -> int:
    """Chain what waits, as the worker does; past the kernel, which expects the newest tables."""

    async def run() -> int:
        engine = create_async_engine(asyncpg_url(database.worker))
        try:
            async with Session(engine) as session, session.begin():
                done = await chain_records(session, now=datetime.now(UTC))
                return done[0] if done else 0
        finally:
            await engine.dispose()

    return asyncio.run(run())


def rows_of(database: TestDatabase) -> dict[str, list[str]]:
    """Give everything that must survive."""
    return dict(zip(ROWS, ask(database, *((query,) for query in ROWS.values())), strict=True))


@pytest.fixture
def filled(old_database: TestDatabase) -> TestDatabase:
    """With records of years, some of them chained and some waiting, and with events."""
    old_ids = [id_in(months_ago(count)) for count in (30, 14, 2)]
    ask(old_database, (RECORDS, [*old_ids, *(uuid7() for _ in range(50))]))
    assert chain_all(old_database) == 53
    ask(
        old_database,
        (RECORDS, [uuid7() for _ in range(7)]),
        (EVENTS, [instant_in(months_ago(count)) for count in (3, 2, 1, 0, 0)]),
    )
    return old_database


def test_an_upgrade_keeps_every_row_and_the_chain_goes_on(filled: TestDatabase) -> None:
    """What waited for the chain still waits, once; what comes later is queued by the parent's trigger."""
    before = rows_of(filled)
    migrate(filled.owner)
    assert rows_of(filled) == before
    ask(filled, (RECORDS, [uuid7() for _ in range(5)]))
    assert chain_all(filled) == 12
    ((broken,),) = ask(
        filled,
        (
            """
            SELECT count(*) FROM audit.records AS r FULL JOIN audit.chain AS c ON c.record_id = r.id
            WHERE r.id IS NULL OR c.seq IS NULL
            """,
        ),
    )
    assert broken == "0"


def test_no_row_is_copied_by_an_upgrade(filled: TestDatabase) -> None:
    """A row that was written again would have another xmin; the old table is the first partition."""
    xmins = ("SELECT xmin::text FROM audit.records UNION ALL SELECT xmin::text FROM platform.outbox ORDER BY 1",)
    before = ask(filled, xmins)
    migrate(filled.owner)
    assert ask(filled, xmins) == before


def test_a_downgrade_keeps_every_row_of_every_month(filled: TestDatabase) -> None:
    """Also those that came in after the upgrade, in later months and in none."""
    migrate(filled.owner)
    ask(
        filled,
        (RECORDS, [id_in(months_ago(-1)), id_in(months_ago(-30))]),
        (EVENTS, [instant_in(months_ago(-2)), instant_in(months_ago(-30))]),
    )
    after = rows_of(filled)
    command.downgrade(_config(filled.owner), "0005")
    assert rows_of(filled) == after
    assert chain_all(filled) == 9
