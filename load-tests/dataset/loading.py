"""Puts a data set into a migrated database, whole or not at all: one transaction on one connection of the owner.

Whoever is killed half-way leaves nothing behind, as the server rolls back. Constraints, triggers and grants are the
migrations' own: what is taken away for the time of a large load is read from the catalogue, and put back in the same
transaction, which proves every row.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import asyncpg

from dataset.cast import email
from dataset.plan import Plan
from dataset.rows import COLUMNS, People, Row, Rows, doctor_rows, people_rows
from telemed.kernel.ids import uuid7
from telemed.migrations.runner import newest_revision
from telemed_load.problems import LoadProblem

Report = Callable[[str, int], None]  # told what is being done, and how many more steps are done

DOCTORS_AT_ONCE = 50  # so many doctors' rows are in memory, some 50,000 slots
# From here on it is faster to build an index from all rows than to keep it up to date with each.
REBUILT_FROM = 50_000
# Any number will do, as long as every load takes the same.
_LOAD_LOCK = 7_035_202_613

_FOR_THE_LOAD = """
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = '60s';
    -- Services that run meanwhile wait for the tables; a load that waits for them is better refused.
    SET LOCAL lock_timeout = '10s';
    -- Without it the server would notice only after the index that it is building that nobody waits for it any more.
    SET LOCAL client_connection_check_interval = '1s';
    SET LOCAL maintenance_work_mem = '512MB';
"""
_CONSTRAINTS = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', $1::regclass, conname) AS remove,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', $1::regclass, conname, pg_get_constraintdef(oid)) AS restore
    FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('x', 'f') ORDER BY contype DESC, conname
"""
_INDEXES = """
    SELECT format('DROP INDEX %s', i.indexrelid::regclass) AS remove, pg_get_indexdef(i.indexrelid) AS restore
    FROM pg_index AS i
    WHERE i.indrelid = $1::regclass
      AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid) ORDER BY 1
"""
_RECORD = """
    INSERT INTO audit.records
        (id, recorded_at, action, outcome, entity_type, request_id, trace_id, client_address, details)
    VALUES ($1, $2, 'dataset.load', 'allowed', 'dataset', 'dataset-load', '', '', $3)
"""


class AlreadyThere(LoadProblem):
    """The seed's people are in the database, of this load or an earlier one."""


@dataclass(frozen=True)
class Loaded:
    """How much there is now."""

    counts: dict[str, int]


def steps(plan: Plan) -> int:
    """Count what `load` reports, for a progress bar: people, slots, and half as much again for the indexes."""
    return plan.doctors + plan.patients + plan.slots + _index_steps(plan)


async def load(owner_dsn: str, plan: Plan, password_hash: str, report: Report, *, beside: bool = False) -> Loaded:
    """Load the data set; *beside* allows that there are people already.

    Raises:
        AlreadyThere: nothing was changed.
        LoadProblem: the database is not migrated, not empty, or being loaded by somebody else.
    """
    connection = await connected(owner_dsn)
    try:
        counts = await _whole_or_nothing(connection, plan, password_hash, report, beside=beside)
        # What autovacuum would do in a while: without it the first minute is slower than life.
        report("vacuum", 0)
        await connection.execute("SET statement_timeout = 0")
        for table in COLUMNS:
            await connection.execute(f"VACUUM {table}")
    except asyncpg.UniqueViolationError as error:
        raise AlreadyThere(_already_there(plan)) from error
    except asyncpg.LockNotAvailableError as error:
        raise LoadProblem("The tables are in use; stop what uses them, or try again.") from error
    finally:
        # Whatever is still open is rolled back by that. Nothing is asked of the server first: it may be in mid-COPY.
        connection.terminate()
    return Loaded(counts)


async def _whole_or_nothing(
    connection: asyncpg.Connection, plan: Plan, password_hash: str, report: Report, *, beside: bool
) -> dict[str, int]:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(_FOR_THE_LOAD)
    await _require_ready(connection, plan, beside=beside)
    counts = await _fill(connection, plan, password_hash, report)
    commit = asyncio.ensure_future(transaction.commit())
    # Who stops it now comes too late, and must not be told that nothing happened.
    while not commit.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(commit)
    await commit
    return counts


async def connected(dsn: str) -> asyncpg.Connection:
    """Connect as the owner.

    Raises:
        LoadProblem: nobody answers there, or not to this login.
    """
    try:
        return await asyncpg.connect(dsn, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise LoadProblem("The database cannot be reached as its owner; is OWNER_DATABASE_URL right?") from error


async def _require_ready(connection: asyncpg.Connection, plan: Plan, *, beside: bool) -> None:
    try:
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        revision = None
    if revision != newest_revision():
        raise LoadProblem("The database is not at this version's revision; run `telemed migrate` first.")
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOAD_LOCK):
        raise LoadProblem("Another load of this database is running.")
    # Known before anything is taken away, for which the services would have to wait.
    if await connection.fetchval(
        "SELECT EXISTS (SELECT FROM auth.users WHERE email = $1)", email("patient", 0, plan.seed)
    ):
        raise AlreadyThere(_already_there(plan))
    for table in COLUMNS:
        if not beside and await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
            raise LoadProblem(f"The database is not empty: {table} has rows. To load beside them, say --beside.")


def _already_there(plan: Plan) -> str:
    return f"The people of seed {plan.seed} are there already; take another --seed."


async def _fill(connection: asyncpg.Connection, plan: Plan, password_hash: str, report: Report) -> dict[str, int]:
    taken_away = await _take_away(connection, plan)
    counts = dict.fromkeys(COLUMNS, 0)
    people, rows = people_rows(plan, password_hash)
    await _copy(connection, rows, counts, lambda table, done: report("people", done * (table == "auth.users")))
    async for rows in _work(plan, people):
        await _copy(connection, rows, counts, lambda table, done: report("slots", done * (table == "booking.slots")))
    for place, statement in enumerate(taken_away, start=1):
        await connection.execute(statement)
        report("indexes", _part(_index_steps(plan), place, len(taken_away)))
    details = json.dumps({"seed": plan.seed, "slots": plan.slots, "doctors": plan.doctors, "patients": plan.patients})
    await connection.execute(_RECORD, uuid7(), plan.now, details)
    report("statistics", 0)
    for table in COLUMNS:
        await connection.execute(f"ANALYZE {table}")
    return counts


async def _work(plan: Plan, people: People) -> AsyncIterator[Rows]:
    """Give the doctors' rows, some at a time; the next are made on a thread while the server takes these."""
    parts = [
        range(first, min(first + DOCTORS_AT_ONCE, plan.doctors)) for first in range(0, plan.doctors, DOCTORS_AT_ONCE)
    ]
    coming = asyncio.create_task(asyncio.to_thread(doctor_rows, plan, people, parts[0]))
    for following in [*parts[1:], None]:
        rows = await coming
        if following is not None:
            coming = asyncio.create_task(asyncio.to_thread(doctor_rows, plan, people, following))
        yield rows


async def _take_away(connection: asyncpg.Connection, plan: Plan) -> list[str]:
    """Remove what slows a large load down, and give the statements that put it back, first things first."""
    loaded = await connection.fetchval(
        "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'booking.slots'::regclass"
    )
    if plan.slots < max(REBUILT_FROM, loaded):
        return []
    restore: list[str] = []
    for query in (_CONSTRAINTS, _INDEXES):
        for table in COLUMNS:
            for row in await connection.fetch(query, table):
                await connection.execute(row["remove"])
                restore.append(row["restore"])
    return restore


async def _copy(
    connection: asyncpg.Connection, rows: Rows, counts: dict[str, int], report: Callable[[str, int], None]
) -> None:
    for table, records in rows.of.items():
        if not records:
            continue
        schema, _, name = table.partition(".")
        columns = COLUMNS[table]
        await connection.copy_records_to_table(
            name, records=_told(table, records, report), columns=columns, schema_name=schema, timeout=None
        )
        counts[table] += len(records)


def _told(table: str, records: list[Row], report: Callable[[str, int], None]) -> Iterator[Row]:
    for start in range(0, len(records), 5000):
        part = records[start : start + 5000]
        yield from part
        report(table, len(part))


def _index_steps(plan: Plan) -> int:
    return plan.slots // 2 if plan.slots >= REBUILT_FROM else 0


def _part(whole: int, place: int, places: int) -> int:
    """Share *whole* out so that the shares add up to it."""
    return whole * place // places - whole * (place - 1) // places
