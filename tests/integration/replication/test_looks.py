"""Looks at patient data: shown from a replica, decided and recorded on the primary."""

from uuid import UUID

import asyncpg
import pytest
from tests.integration.replication.conftest import Replication, Served
from tests.support.clinic import Clinic
from tests.support.people import People
from tests.support.waiting import until


async def records(owner: asyncpg.Connection, action: str, entity_id: str) -> list[tuple[str, UUID]]:
    rows = await owner.fetch(
        "SELECT outcome, actor_id FROM audit.records WHERE action = $1 AND entity_id = $2 ORDER BY id",
        action,
        UUID(entity_id),
    )
    return [(row["outcome"], row["actor_id"]) for row in rows]


async def test_a_look_on_a_replica_leaves_its_record(
    served: Served, clinic: Clinic, people: People, replication: Replication, owner: asyncpg.Connection
) -> None:
    """One record on the primary, as if it had been read there."""
    patient = await people.patient()
    appointment = await clinic.appointment(patient)
    await replication.caught_up()
    reply = await patient.get(f"/booking/appointments/{appointment['id']}")
    assert reply.status_code == 200
    assert (served.by("replica"), served.by("primary")) == ({"near": 1}, {})
    assert await records(owner, "appointment.read", appointment["id"]) == [("allowed", UUID(patient.id))]


async def test_another_patient_is_refused_and_recorded(
    served: Served, clinic: Clinic, people: People, replication: Replication, owner: asyncpg.Connection
) -> None:
    """404, and the record of the attempt."""
    appointment = await clinic.appointment(await people.patient())
    stranger = await people.patient()
    await replication.caught_up()
    reply = await stranger.get(f"/booking/appointments/{appointment['id']}")
    assert reply.status_code == 404
    assert await records(owner, "appointment.read", appointment["id"]) == [("denied", UUID(stranger.id))]


async def test_a_session_that_ended_counts_at_once(
    served: Served, clinic: Clinic, people: People, replication: Replication, owner: asyncpg.Connection
) -> None:
    """The replicas do not know it yet; the primary does."""
    patient = await people.patient()
    appointment = await clinic.appointment(patient)
    await replication.caught_up()
    await replication.hold_back()
    assert (await patient.post("/auth/logout")).status_code == 204
    reply = await patient.get(f"/booking/appointments/{appointment['id']}")
    assert reply.status_code == 401
    assert await records(owner, "appointment.read", appointment["id"]) == []


async def test_a_role_that_was_taken_counts_at_once(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """A former admin does not see a registration number because a replica still takes them for one."""
    doctor = await clinic.doctor(registration_number="SEEN-BY-ADMINS")
    admin, former = await people.admin(), await people.admin()
    await replication.caught_up()
    assert (await former.get(f"/booking/doctors/{doctor.id}")).json()["registration_number"] == "SEEN-BY-ADMINS"
    await replication.hold_back()
    reply = await admin.post("/auth/admin/role", {"user_id": former.id, "role": "patient"})
    assert reply.status_code == 200
    shown = (await former.get(f"/booking/doctors/{doctor.id}")).json()
    assert shown.get("registration_number") is None
    assert served.by("primary") == {"role_changed": 1}


@pytest.mark.parametrize("more_settings", [{"primary_fallback_reads": 1}])
async def test_reads_that_fall_back_leave_the_primary_to_writes(
    served: Served, clinic: Clinic, people: People, replication: Replication, owner: asyncpg.Connection
) -> None:
    """Only so many at once; the rest hears 503 early instead of queueing before the bookings."""
    import asyncio

    doctor = await clinic.doctor()
    await replication.caught_up()
    for replica in replication.replicas:
        replica.freeze()
    async with owner.transaction():
        await owner.execute("LOCK TABLE booking.doctors IN ACCESS EXCLUSIVE MODE")
        first = asyncio.create_task(people.nobody.get(f"/booking/doctors/{doctor.id}"))
        await until(lambda: sum(served.by("primary").values()) == 1)
        second = await people.nobody.get(f"/booking/doctors/{doctor.id}")
    assert (second.status_code, second.json()["type"]) == (503, "overloaded")
    assert (await first).status_code == 200
