"""Months are made ahead, by several workers at once, in nobody's way; one that is missing refuses no write."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from uuid import UUID

import asyncpg
import pytest
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.months import PARENTS, id_in, instant_in, make_months, months_ago
from tests.support.waiting import until

from telemed.kernel.partitions import MONTHLY_TABLES, MonthlyTable, create_month
from telemed.kernel.problems import Overloaded
from telemed.kernel.resources import Resources
from telemed.worker.months import keep_months_ahead, measure_months

THIS, NEXT, LATER = months_ago(0), months_ago(-1), months_ago(-6)
RECORDS = """
    INSERT INTO audit.records
    SELECT id, now(), NULL, NULL, 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '', '{}'
    FROM unnest($1::uuid[]) AS id
"""
EVENTS = """
    INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at)
    SELECT gen_random_uuid(), 'thing.made', '{}', '', at, at FROM unnest($1::timestamptz[]) AS at
"""
HISTORY = """
    INSERT INTO booking.appointment_history
    SELECT gen_random_uuid(), 1, gen_random_uuid(), 'booked', at, at FROM unnest($1::timestamptz[]) AS at
"""


async def write(owner: asyncpg.Connection, table: str, month: date, count: int = 3) -> None:
    """Commit rows of the month through the table itself."""
    if table == "audit":
        await owner.execute(RECORDS, [id_in(month) for _ in range(count)])
    else:
        await owner.execute({"outbox": EVENTS, "history": HISTORY}[table], [instant_in(month)] * count)


async def places(owner: asyncpg.Connection, table: str) -> dict[str, int]:
    """Count the rows of each partition."""
    rows = await owner.fetch(
        f"SELECT tableoid::regclass::text AS name, count(*) AS rows FROM {PARENTS[table]} GROUP BY 1"
    )
    return {row["name"]: row["rows"] for row in rows}


def gauge(worker: Resources, name: str, table: str) -> float | None:
    """Read a gauge of the months."""
    return worker.metrics.registry.get_sample_value(f"telemed_partitions_{name}", {"table": table})


@contextmanager
def changed(worker: Resources, **settings: object) -> Iterator[None]:
    """Run with other settings."""
    before = worker.settings
    worker.settings = before.model_copy(update=settings)
    yield
    worker.settings = before


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_the_job_makes_what_is_missing_ahead(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable, events: LoggedEvents
) -> None:
    """As many as the setting says, each once, and says so."""
    with changed(worker, partitions_ahead_months=5):
        await keep_months_ahead(worker)
        await measure_months(worker)
        assert gauge(worker, "ahead_months", table) == 5
        made = [event["month"] for event in events.named("partition.created") if event["table"] == table]
        assert made == [f"{months_ago(-4):%Y-%m}", f"{months_ago(-5):%Y-%m}"]
        await keep_months_ahead(worker)
        assert len(events.named("partition.created")) == 2 * len(MONTHLY_TABLES)


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_a_month_that_is_missing_is_seen(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable, events: LoggedEvents
) -> None:
    """By its gauge and in the log, before a row of it is written; and a gap counts, whatever is behind it."""
    await measure_months(worker)
    assert [gauge(worker, "ahead_months", one) for one in MONTHLY_TABLES] == [3, 3, 3]
    assert events.named("partition.missed") == []
    await owner.execute(f"DROP TABLE {PARENTS[table]}_{NEXT:%Y_%m}")
    await measure_months(worker)
    assert gauge(worker, "ahead_months", table) == 0
    assert [(event["table"], event["level"]) for event in events.named("partition.missed")] == [(table, "error")]


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_rows_without_a_month_are_kept_counted_and_moved(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable, events: LoggedEvents
) -> None:
    """No write is refused; the job that comes late puts them where they belong, and those of no month stay."""
    parent = PARENTS[table]
    await owner.execute(f"DROP TABLE {parent}_{NEXT:%Y_%m}")
    for month, count in ((NEXT, 3), (date(2300, 1, 1), 2)):
        await write(owner, table, month, count)
    await measure_months(worker)
    assert gauge(worker, "default_rows", table) == 5
    assert events.named("partition.missed")[0]["default_rows"] == 5
    rows = await owner.fetch(f"SELECT * FROM {parent} ORDER BY 1")
    await keep_months_ahead(worker)
    await measure_months(worker)
    assert await places(owner, table) == {f"{parent}_{NEXT:%Y_%m}": 3, f"{parent}_default": 2}
    assert await owner.fetch(f"SELECT * FROM {parent} ORDER BY 1") == rows
    assert gauge(worker, "default_rows", table) == 2


async def test_records_that_are_moved_wait_for_the_chain_once(worker: Resources, owner: asyncpg.Connection) -> None:
    """They were queued when they were written."""
    await owner.execute(f"DROP TABLE audit.records_{NEXT:%Y_%m}")
    await write(owner, "audit", NEXT)
    queued = await owner.fetch("SELECT record_id FROM audit.unchained ORDER BY 1")
    await keep_months_ahead(worker)
    assert await owner.fetch("SELECT record_id FROM audit.unchained ORDER BY 1") == queued
    assert len(queued) == 3


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_of_two_workers_one_makes_the_month(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable
) -> None:
    """Eight at once; the others find it, and nobody fails."""
    await write(owner, table, LATER)
    made = await asyncio.gather(*(worker.db.transact(create_month, table, LATER) for _ in range(8)))
    assert sorted(made) == [False] * 7 + [True]
    assert await places(owner, table) == {f"{PARENTS[table]}_{LATER:%Y_%m}": 3}


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_a_month_ahead_is_made_while_others_write(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable
) -> None:
    """An open transaction that has written does not hold it up: `PARTITION OF` would wait, and fail."""
    async with owner.transaction():
        await write(owner, table, THIS)
        assert await worker.db.transact(create_month, table, LATER)


@pytest.mark.parametrize("table", MONTHLY_TABLES)
async def test_writers_pass_while_a_month_waits_for_a_reader(
    worker: Resources, owner: asyncpg.Connection, database: TestDatabase, table: MonthlyTable
) -> None:
    """Who has read the whole table holds the default partition until they end; bookings go on meanwhile."""
    other = await asyncpg.connect(database.owner)
    async with other.transaction():
        await other.fetch(f"SELECT count(*) FROM {PARENTS[table]}")
        creating = asyncio.create_task(worker.db.transact(create_month, table, LATER))
        waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass"
        await until(lambda: owner.fetchval(waits, f"{PARENTS[table]}_default"))
        await write(owner, table, THIS)
        assert not creating.done()
    assert await creating
    await other.close()


async def test_a_lock_that_is_held_is_waited_for_only_shortly(worker: Resources, owner: asyncpg.Connection) -> None:
    """Rather no new month for ten minutes than a queue behind it; the other tables get theirs all the same."""
    with changed(worker, partitions_ahead_months=4):
        async with owner.transaction():
            await owner.execute("LOCK TABLE audit.records IN SHARE UPDATE EXCLUSIVE MODE")
            async with asyncio.timeout(5):
                with pytest.raises(Overloaded):
                    await keep_months_ahead(worker)
        await measure_months(worker)
        assert [gauge(worker, "ahead_months", one) for one in MONTHLY_TABLES] == [3, 4, 4]


@pytest.mark.parametrize("table", ["audit", "outbox"])
async def test_writers_of_a_month_that_is_being_made_are_not_refused(
    worker: Resources, owner: asyncpg.Connection, database: TestDatabase, table: MonthlyTable
) -> None:
    """They wait, and their rows are in it; none is left behind in the default partition."""
    await make_months(owner, table)
    running = True
    written = 0

    async def keep_writing() -> None:
        nonlocal written
        connection = await asyncpg.connect(database.services)
        while running:
            await write(connection, table, THIS, 1)
            written += 1
        await connection.close()

    writers = [asyncio.create_task(keep_writing()) for _ in range(4)]
    while written < 20:
        await asyncio.sleep(0)
        for task in writers:
            assert not task.done()
    assert await worker.db.transact(create_month, table, THIS)
    so_far = written
    while written < so_far + 20:
        await asyncio.sleep(0.01)
        for task in writers:
            assert not task.done() or task.result() is None
    running = False
    await asyncio.gather(*writers)
    assert await places(owner, table) == {f"{PARENTS[table]}_{THIS:%Y_%m}": written}


@pytest.mark.parametrize("table", ["audit", "history"])
@pytest.mark.parametrize("which", ["default", "fresh", "moved"])
@pytest.mark.parametrize(
    "act",
    ["INSERT INTO {0} SELECT * FROM {0}", "UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"],
)
async def test_nobody_changes_a_month_directly(
    worker: Resources, owner: asyncpg.Connection, table: MonthlyTable, which: str, act: str
) -> None:
    """Not even the owner by mistake: not an old month, not a new one, not the default one after rows were moved."""
    if which == "moved":
        await write(owner, table, LATER)
    await worker.db.transact(create_month, table, LATER)
    partition = f"{PARENTS[table]}_{LATER:%Y_%m}" if which == "fresh" else f"{PARENTS[table]}_default"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(act.format(partition, "id" if table == "audit" else "version"))


@pytest.mark.parametrize("month", [date(2026, 11, 2), date(2300, 1, 1), date(1999, 1, 1)])
async def test_only_months_around_now_can_be_made(database: TestDatabase, month: date) -> None:
    """Whoever has the worker's login cannot fill the catalogue with tables."""
    connection = await asyncpg.connect(database.worker)
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await connection.execute("SELECT platform.create_month('history', $1)", month)
    await connection.close()


@pytest.mark.parametrize("role", ["services", "auditor"])
@pytest.mark.parametrize("call", ["create_month('audit', '2027-01-01')", "default_rows('audit')"])
async def test_only_the_worker_makes_months(database: TestDatabase, role: str, call: str) -> None:
    """EXECUTE is its alone."""
    connection = await asyncpg.connect(getattr(database, role))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"SELECT platform.{call}")
    await connection.close()


async def test_rights_are_on_the_parents_alone(owner: asyncpg.Connection, worker: Resources) -> None:
    """What names a partition goes past the parent's triggers, so nobody may."""
    await worker.db.transact(create_month, "audit", LATER)
    granted = await owner.fetch(
        """
        SELECT c.relname, (aclexplode(c.relacl)).grantee::regrole::text AS grantee
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relacl IS NOT NULL
        """
    )
    assert [tuple(row) for row in granted if row["grantee"] != "telemed_owner"] == []


async def test_bounds_are_those_of_uuid7(owner: asyncpg.Connection) -> None:
    """The first id of a month lies in it, the last one of the month before does not."""
    first = await owner.fetchval("SELECT platform.uuid7_floor($1)", instant_in(NEXT))
    assert first == UUID(UUID(id_in(NEXT)).hex[:12] + "0" * 20)
    assert await owner.fetchval("SELECT platform.uuid7_time($1)", first) == instant_in(NEXT)
