"""The history of appointments: every version, in the order in which it came about, written by the trigger alone."""

from uuid import UUID

import asyncpg
import pytest
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import People

HISTORY = """
    SELECT appointment_id, version, status FROM booking.appointment_history WHERE slot_id = $1 ORDER BY recorded_at
"""


async def test_every_claim_on_a_slot_is_in_its_history(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """In their order, with how each ended; it is the appointment's own transaction that writes it."""
    doctor, patients = await clinic.doctor(), [await people.patient() for _ in range(3)]
    (slot,) = await clinic.slots(doctor)
    ids = []
    for patient in patients:
        booked = await patient.post("/booking/slots/book", {"slot_id": slot["id"]})
        assert booked.status_code == 201, booked.text
        ids.append(UUID(booked.json()["id"]))
        if patient is not patients[-1]:
            assert (await patient.post(f"/booking/appointments/{ids[-1]}/cancel", {})).is_success
    found = [tuple(row) for row in await owner.fetch(HISTORY, UUID(slot["id"]))]
    first, second, third = ids
    assert found == [
        (first, 1, "booked"),
        (first, 2, "cancelled"),
        (second, 1, "booked"),
        (second, 2, "cancelled"),
        (third, 1, "booked"),
    ]
    strangers = await owner.fetchval(
        """
        SELECT count(*) FROM booking.appointments AS a JOIN booking.appointment_history AS h
            ON h.appointment_id = a.id AND h.version = a.version
        WHERE a.slot_id = $1 AND a.xmin <> h.xmin
        """,
        UUID(slot["id"]),
    )
    assert strangers == 0


async def test_an_appointment_that_is_rolled_back_leaves_no_history(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """Nothing half done."""
    appointment = await clinic.appointment(await people.patient())
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute("UPDATE booking.appointments SET version = 2, status = 'cancelled'")
    assert await owner.fetchval("SELECT count(*) FROM booking.appointment_history") == 2
    await transaction.rollback()
    assert [row["version"] for row in await owner.fetch(HISTORY, UUID(appointment["slot_id"]))] == [1]


@pytest.mark.parametrize("role", ["services", "auditor", "worker"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM booking.appointment_history",
        "INSERT INTO booking.appointment_history SELECT id, 1, id, '', now(), now() FROM gen_random_uuid() AS id",
        "UPDATE booking.appointment_history SET version = 1",
        "DELETE FROM booking.appointment_history",
        "SELECT booking.note_version()",
    ],
)
async def test_no_role_touches_the_history(database: TestDatabase, role: str, statement: str) -> None:
    """Who books writes it through the trigger only."""
    connection = await asyncpg.connect(getattr(database, role))
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
        await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("act", ["UPDATE {0} SET version = 1", "DELETE FROM {0}", "TRUNCATE {0}"])
async def test_not_even_the_owner_changes_the_history_by_mistake(owner: asyncpg.Connection, act: str) -> None:
    """A trigger refuses."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(act.format("booking.appointment_history"))
