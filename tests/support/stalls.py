"""Requests held up at a known place, so that a test can do something to them there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from tests.support.clinic import Clinic
from tests.support.people import User

BOOK = "/booking/slots/book"


@asynccontextmanager
async def slot_locked(dsn: str, slot_id: str) -> AsyncIterator[None]:
    """Hold a slot's row: whoever books it waits for as long as the context lasts, or their bound."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM booking.slots WHERE id = $1 FOR UPDATE", UUID(slot_id))
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def directory_locked(dsn: str) -> AsyncIterator[None]:
    """Hold the directory of doctors: whoever reads it waits for as long as the context lasts."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE booking.doctors IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def waiting_for_locks(owner: asyncpg.Connection) -> int:
    """Count the statements that the server holds up in this database at this moment."""
    return int(
        await owner.fetchval(
            # By the locks: what others wait for, pg_stat_activity shows to superusers only.
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
    )


async def open_slot(clinic: Clinic) -> str:
    """Publish a slot and give its id."""
    (slot,) = await clinic.slots(await clinic.doctor())
    return str(slot["id"])


async def bookings_of(owner: asyncpg.Connection, patient: User) -> int:
    """Count the patient's appointments past the code under test."""
    query = "SELECT count(*) FROM booking.appointments WHERE patient_id = $1"
    return int(await owner.fetchval(query, UUID(patient.id)))
