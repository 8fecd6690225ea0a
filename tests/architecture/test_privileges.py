"""What each database role can do: a bug or an intruder in a service must not reach the trail."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest
from tests.support.databases import TestDatabase

Connect = Callable[[str], Awaitable[asyncpg.Connection]]
LOGINS = ("telemed_api", "telemed_audit_api", "telemed_jobs")
RECORD = """
    INSERT INTO audit.records
        (id, recorded_at, action, outcome, entity_type, request_id, trace_id, client_address, details)
    VALUES (gen_random_uuid(), now(), 'test.try', 'allowed', 'test', '', '', '', '{}')
"""


@pytest.fixture
async def as_role(database: TestDatabase) -> AsyncIterator[Connect]:
    """Connects as one of the login roles."""
    async with AsyncExitStack() as stack:

        async def connect(role: str) -> asyncpg.Connection:
            connection = await asyncpg.connect(database.servers.role_dsn(database.name, role))
            stack.push_async_callback(connection.close)
            return connection

        yield connect


async def refused(connection: asyncpg.Connection, statement: str) -> bool:
    """Tell whether the server refuses the statement for want of a privilege; nothing stays of it otherwise."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    else:
        return False
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("role", LOGINS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.records SET action = 'nothing.happened'",
        "DELETE FROM audit.records",
        "TRUNCATE audit.records",
        "DROP TABLE audit.records",
        "ALTER TABLE audit.records DISABLE TRIGGER ALL",
        "ALTER TABLE audit.records ADD COLUMN mine text",
    ],
)
async def test_nobody_changes_the_trail(as_role: Connect, role: str, statement: str) -> None:
    """Append-only for whoever a process of ours can be."""
    assert await refused(await as_role(role), statement)


async def test_services_only_append_to_the_trail(as_role: Connect) -> None:
    """They write what they did, and cannot read what others did."""
    services = await as_role("telemed_api")
    assert not await refused(services, RECORD)
    assert await refused(services, "SELECT count(*) FROM audit.records")
    assert await refused(services, RECORD + " RETURNING id")


async def test_the_auditor_reads_the_trail_and_no_health_data(as_role: Connect) -> None:
    """Who looks at who did what needs no prescription for it."""
    auditor = await as_role("telemed_audit_api")
    assert not await refused(auditor, "SELECT count(*) FROM audit.records")
    for table in ("consultation.prescriptions", "booking.appointments", "auth.users", "platform.idempotency_keys"):
        assert await refused(auditor, f"SELECT count(*) FROM {table}")


async def test_the_worker_sees_no_password_and_no_health_data(as_role: Connect) -> None:
    """It delivers, chains and cleans up; to look for what must never be it needs ids, states and instants."""
    worker = await as_role("telemed_jobs")
    assert await refused(worker, "SELECT password_hash FROM auth.users")
    for column in ("diagnosis", "items", "advice", "follow_up_on", "doctor_id", "patient_id"):
        assert await refused(worker, f"SELECT {column} FROM consultation.prescriptions"), column
    assert await refused(worker, "SELECT reason FROM booking.appointments")
    for table in ("booking.appointments", "booking.slots", "consultation.prescriptions"):
        assert not await refused(worker, f"SELECT count(*) FROM {table}")
        for statement in (f"SELECT * FROM {table}", f"UPDATE {table} SET id = id", f"DELETE FROM {table}"):
            assert await refused(worker, statement), statement


@pytest.mark.parametrize("role", LOGINS)
async def test_nobody_makes_or_removes_anything(as_role: Connect, role: str) -> None:
    """Only the owner, in a migration, changes what there is."""
    connection = await as_role(role)
    for statement in (
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "DROP TABLE booking.slots",
        "TRUNCATE booking.appointments",
        "DELETE FROM booking.appointments",
        "DELETE FROM auth.users",
        "CREATE ROLE mine",
    ):
        assert await refused(connection, statement), statement


async def test_even_the_owner_cannot_change_the_trail_by_mistake(owner: asyncpg.Connection) -> None:
    """The trigger has to be taken away first, and the hash chain would show what was done."""
    for statement in (
        "UPDATE audit.records SET action = 'nothing.happened'",
        "DELETE FROM audit.records",
        "TRUNCATE audit.records",
    ):
        assert await refused(owner, statement), statement


async def test_prescriptions_cannot_be_changed(as_role: Connect) -> None:
    """A new one supersedes; the old one stays what it was."""
    services = await as_role("telemed_api")
    for statement in (
        "UPDATE consultation.prescriptions SET advice = ''",
        "DELETE FROM consultation.prescriptions",
        "TRUNCATE consultation.prescriptions",
    ):
        assert await refused(services, statement), statement
