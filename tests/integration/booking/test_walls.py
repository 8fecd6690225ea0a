"""A slot is never booked twice: either wall alone is enough."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import People, User
from tests.support.stalls import slot_locked, waiting_for_locks
from tests.support.waiting import until

RIVALS = 60
AT_THE_ROW = 6  # half of the pool


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose constraints may be dropped."""
    return fresh_database


async def race(patients: Sequence[User], slot_ids: Sequence[str]) -> Counter[str]:
    """Let everybody book at once; count what they hear."""

    async def one(place: int, patient: User) -> httpx.Response:
        return await patient.post("/booking/slots/book", {"slot_id": slot_ids[place % len(slot_ids)]})

    replies = await asyncio.gather(*(one(place, patient) for place, patient in enumerate(patients)))
    return Counter("201" if reply.status_code == 201 else str(reply.json()["type"]) for reply in replies)


async def race_at_the_row(
    owner: asyncpg.Connection, database: TestDatabase, patients: Sequence[User], slot_id: str
) -> Counter[str]:
    """Let everybody book at once, and hold the slot's row until several have looked at it and want it."""
    async with slot_locked(database.owner, slot_id):
        racing = asyncio.create_task(race(patients, [slot_id]))

        async def several_wait() -> bool:
            return await waiting_for_locks(owner) >= AT_THE_ROW

        await until(several_wait)
    return await racing


async def occupied(owner: asyncpg.Connection, slot_id: str) -> int:
    found: int = await owner.fetchval(
        "SELECT count(*) FROM booking.appointments WHERE slot_id = $1 AND status = 'booked'", UUID(slot_id)
    )
    return found


async def remove_row_lock(owner: asyncpg.Connection) -> None:
    """Take the first wall away: the slot is read, not locked."""
    function = await owner.fetchval("SELECT pg_get_functiondef('booking.book_slot'::regproc)")
    without = function.replace("FOR UPDATE", "")
    assert without != function
    await owner.execute(without)


async def remove_constraints(owner: asyncpg.Connection) -> None:
    """Take the second wall away."""
    await owner.execute("ALTER TABLE booking.appointments DROP CONSTRAINT appointments_doctor_no_overlap")


async def test_of_many_patients_one_wins(
    people: People, clinic: Clinic, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """With both walls: one 201, everybody else hears slot-taken."""
    (slot,) = await clinic.slots(await clinic.doctor())

    heard = await race_at_the_row(owner, database, await people.patients(RIVALS), slot["id"])

    assert heard == {"201": 1, "slot-taken": RIVALS - 1}
    assert await occupied(owner, slot["id"]) == 1


async def test_the_constraint_alone_is_enough(
    people: People, clinic: Clinic, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """Without the row lock: still one winner, the same words, no server error."""
    await remove_row_lock(owner)
    (slot,) = await clinic.slots(await clinic.doctor())

    heard = await race_at_the_row(owner, database, await people.patients(RIVALS), slot["id"])

    assert heard == {"201": 1, "slot-taken": RIVALS - 1}
    assert await occupied(owner, slot["id"]) == 1


async def test_the_row_lock_alone_is_enough(
    people: People, clinic: Clinic, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """Without the constraint: the same."""
    await remove_constraints(owner)
    (slot,) = await clinic.slots(await clinic.doctor())

    heard = await race_at_the_row(owner, database, await people.patients(RIVALS), slot["id"])

    assert heard == {"201": 1, "slot-taken": RIVALS - 1}
    assert await occupied(owner, slot["id"]) == 1


async def test_without_both_walls_the_race_is_lost(
    people: People, clinic: Clinic, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """The race above is a real one: it finds the double booking that the walls prevent."""
    await remove_row_lock(owner)
    await remove_constraints(owner)
    (slot,) = await clinic.slots(await clinic.doctor())

    await race_at_the_row(owner, database, await people.patients(RIVALS), slot["id"])

    assert await occupied(owner, slot["id"]) > 1


async def test_a_patient_at_many_doctors_at_once_gets_one(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """Twenty overlapping slots, one patient: one booking, no deadlock, no server error."""
    patient = await people.patient()
    slot_ids = [(await clinic.slots(await clinic.doctor()))[0]["id"] for _ in range(20)]

    heard = await race([patient] * 20, slot_ids)

    assert heard == {"201": 1, "patient-busy": 19}


@pytest.mark.parametrize("status", ["booked", "in_progress", "completed", "no_show"])
async def test_no_state_slips_past_the_constraint(
    people: People, clinic: Clinic, owner: asyncpg.Connection, status: str
) -> None:
    """Not by an insert, and not by changing the state of a cancelled appointment back."""
    appointment = await clinic.appointment(await people.patient())
    other_patient = await people.patient()
    await owner.execute("UPDATE booking.appointments SET status = $1 WHERE id = $2", status, UUID(appointment["id"]))

    copy = """
        INSERT INTO booking.appointments
            (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, created_at, version)
        SELECT gen_random_uuid(), slot_id, doctor_id, $2, $3, starts_at, ends_at, created_at, 1
        FROM booking.appointments WHERE id = $1 RETURNING id
    """
    with pytest.raises(asyncpg.ExclusionViolationError):
        await owner.fetchval(copy, UUID(appointment["id"]), UUID(other_patient.id), "booked")
    cancelled = await owner.fetchval(copy, UUID(appointment["id"]), UUID(other_patient.id), "cancelled")
    with pytest.raises(asyncpg.ExclusionViolationError):
        await owner.execute("UPDATE booking.appointments SET status = 'booked' WHERE id = $1", cancelled)
