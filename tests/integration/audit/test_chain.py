"""The chain job on a real trail: every record once, in one order, whoever else is at it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.support.databases import TestDatabase

from telemed.audit.chain.jobs import JOBS
from telemed.audit.chain.operations import chain_records, make_checkpoint
from telemed.audit.chain.rules import CHECKPOINT_EVERY, CHECKPOINT_RECORDS, GENESIS, chain_hash
from telemed.kernel.clock import ManualClock
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

INSERT = """
    INSERT INTO audit.records
    SELECT id, now(), NULL, NULL, 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '', '{"n": 1.0}'
    FROM unnest($1::uuid[]) AS id
"""


@pytest.fixture
async def worker(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """The resources of a worker process."""
    async with open_resources(
        settings, constraint_problems={}, clock=clock, database=settings.worker_database
    ) as opened:
        yield opened


@pytest.fixture
async def services_connection(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the services have it."""
    connection = await asyncpg.connect(database.services)
    yield connection
    await connection.close()


async def append(connection: asyncpg.Connection, count: int) -> list[UUID]:
    """Commit records; gives their ids."""
    ids = [uuid7() for _ in range(count)]
    await connection.execute(INSERT, ids)
    return ids


async def chain_all(worker: Resources) -> None:
    """Run the chain job until nothing waits."""
    while await JOBS[0].run(worker):
        pass


async def test_records_become_a_gapless_chain(
    worker: Resources, owner: asyncpg.Connection, services_connection: asyncpg.Connection
) -> None:
    """Each once, each linked to the one before."""
    ids = await append(services_connection, 1203)
    await chain_all(worker)
    previous = GENESIS
    rows = await owner.fetch("SELECT * FROM audit.chain ORDER BY seq")
    for seq, row in enumerate(rows, start=1):
        assert row["seq"] == seq
        assert row["chain_hash"] == chain_hash(previous, seq, row["record_hash"])
        previous = row["chain_hash"]
    assert [row["record_id"] for row in rows] == sorted(ids)
    assert await owner.fetchval("SELECT count(*) FROM audit.unchained") == 0


async def test_a_late_commit_of_a_low_id_is_not_lost(
    worker: Resources, owner: asyncpg.Connection, database: TestDatabase, services_connection: asyncpg.Connection
) -> None:
    """A transaction that was open while higher ids were chained."""
    late_id = uuid7()
    slow = await asyncpg.connect(database.services)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(INSERT, [late_id])
    await append(services_connection, 5)
    await chain_all(worker)
    await transaction.commit()
    await slow.close()
    await chain_all(worker)
    assert await owner.fetchval("SELECT seq FROM audit.chain WHERE record_id = $1", late_id) == 6


async def test_several_workers_make_one_chain(
    worker: Resources, owner: asyncpg.Connection, services_connection: asyncpg.Connection
) -> None:
    """Eight at once, while records still come in."""
    running = True

    async def work() -> None:
        while running:
            await worker.db.transact(chain_records, now=worker.clock.now(), limit=7)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for _ in range(40):
        await append(services_connection, 5)
    running = False
    await asyncio.gather(*workers)
    await chain_all(worker)
    (row,) = await owner.fetch("SELECT count(*), count(DISTINCT record_id), min(seq), max(seq) FROM audit.chain")
    assert tuple(row) == (200, 200, 1, 200)


async def test_whoever_finds_the_head_locked_leaves_at_once(worker: Resources, owner: asyncpg.Connection) -> None:
    """Workers do not queue on one row."""
    async with owner.transaction():
        await owner.execute("SELECT FROM audit.chain_head FOR UPDATE")
        async with asyncio.timeout(2):
            assert await worker.db.transact(chain_records, now=worker.clock.now()) is None


async def test_a_record_that_vanished_before_it_was_chained_keeps_its_place(
    worker: Resources, owner: asyncpg.Connection, services_connection: asyncpg.Connection
) -> None:
    """The chain goes on, and proves that there was one."""
    ids = await append(services_connection, 3)
    await owner.execute("ALTER TABLE audit.records DISABLE TRIGGER records_immutable")
    await owner.execute("DELETE FROM audit.records WHERE id = $1", ids[1])
    await chain_all(worker)
    assert await owner.fetchval("SELECT count(*) FROM audit.chain") == 3


async def test_checkpoints_cover_the_chain_without_overlap(
    worker: Resources, owner: asyncpg.Connection, services_connection: asyncpg.Connection, clock: ManualClock
) -> None:
    """At once when there are enough records, after a while when there are few, and not for nothing."""
    await append(services_connection, CHECKPOINT_RECORDS + 10)
    await chain_all(worker)
    checkpoint = JOBS[1].run
    assert [await checkpoint(worker) for _ in range(2)] == [1, 0]
    clock.advance(CHECKPOINT_EVERY)
    assert [await checkpoint(worker) for _ in range(2)] == [1, 0]
    clock.advance(timedelta(days=1))
    assert await checkpoint(worker) == 0
    rows = await owner.fetch("SELECT from_seq, to_seq FROM audit.checkpoints ORDER BY to_seq")
    assert [tuple(row) for row in rows] == [(1, CHECKPOINT_RECORDS), (CHECKPOINT_RECORDS + 1, CHECKPOINT_RECORDS + 10)]


async def test_checkpoints_asked_for_at_once_do_not_overlap(
    worker: Resources, owner: asyncpg.Connection, services_connection: asyncpg.Connection
) -> None:
    """Five people ask; the second finds nothing new."""
    await append(services_connection, 5)
    await chain_all(worker)
    now = worker.clock.now()
    made = await asyncio.gather(*(worker.db.transact(make_checkpoint, now=now, is_asked_for=True) for _ in range(5)))
    assert sorted(made) == [False] * 4 + [True]


async def test_gauges_show_height_and_lag(
    worker: Resources, services_connection: asyncpg.Connection, clock: ManualClock
) -> None:
    """What an alert looks at."""
    await append(services_connection, 600)
    clock.advance(timedelta(days=3650))
    await JOBS[0].run(worker)
    values = {sample.name: sample.value for metric in worker.metrics.registry.collect() for sample in metric.samples}
    assert values["telemed_audit_chain_height"] == 500
    assert values["telemed_audit_oldest_unchained_seconds"] > 0
    await chain_all(worker)
    assert worker.metrics.registry.get_sample_value("telemed_audit_oldest_unchained_seconds") == 0
