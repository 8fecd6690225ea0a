"""Booking one slot: every answer of the table in the API's design."""

from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx
from tests.support.clinic import Clinic
from tests.support.people import People, User

from telemed.kernel.clock import ManualClock


async def book(patient: User, slot_id: str, *, key: str | None = None, **more: object) -> httpx.Response:
    return await patient.post("/booking/slots/book", {"slot_id": slot_id, **more}, key=key)


async def test_a_booked_slot_is_the_patients(people: People, clinic: Clinic, owner: asyncpg.Connection) -> None:
    """The reply is the appointment, its consultation exists at once, and record and event are there."""
    doctor, patient = await clinic.doctor(), await people.patient()
    (slot,) = await clinic.slots(doctor)

    reply = await book(patient, slot["id"], reason="Palpitations\nsince Monday")

    appointment = reply.json()
    assert reply.status_code == 201
    assert reply.headers["Location"] == f"/consultation/{appointment['id']}"
    expected = {"slot_id": slot["id"], "doctor_id": doctor.id, "patient_id": patient.id, "status": "booked"}
    assert expected.items() <= appointment.items()
    assert (await patient.get(reply.headers["Location"])).json()["status"] == "booked"
    assert (await doctor.get(f"/booking/appointments/{appointment['id']}")).json() == appointment
    records = await owner.fetch(
        "SELECT action, patient_id FROM audit.records WHERE request_id = $1", reply.headers["X-Request-ID"]
    )
    assert [tuple(record) for record in records] == [("appointment.book", UUID(patient.id))]
    events = await owner.fetch(
        "SELECT type FROM platform.outbox WHERE payload->>'appointment_id' = $1", appointment["id"]
    )
    assert [event["type"] for event in events] == ["appointment.booked"]


async def test_a_taken_slot_is_refused(people: People, clinic: Clinic) -> None:
    """The second patient hears slot-taken; so does the first one who asks again without a key."""
    first, second = await people.patients(2)
    appointment = await clinic.appointment(first)

    for patient in (second, first):
        reply = await book(patient, appointment["slot_id"])
        assert (reply.status_code, reply.json()["type"]) == (409, "slot-taken")


async def test_an_unknown_slot_does_not_exist(people: People) -> None:
    """404, whatever the id."""
    reply = await book(await people.patient(), str(uuid4()))

    assert (reply.status_code, reply.json()["type"]) == (404, "not-found")


async def test_a_slot_that_has_started_is_gone(people: People, clinic: Clinic, clock: ManualClock) -> None:
    """At the very instant of its beginning it can no longer be booked."""
    (slot,) = await clinic.slots(await clinic.doctor())
    clock.advance(timedelta(days=1))
    patient = await people.patient()

    reply = await book(patient, slot["id"])

    assert (reply.status_code, reply.json()["type"]) == (410, "slot-started")


async def test_a_withdrawn_slot_does_not_exist(people: People, clinic: Clinic) -> None:
    """Neither for booking nor for search; and withdrawing it again is a 404 too."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)
    assert (await doctor.delete(f"/booking/slots/{slot['id']}")).status_code == 204

    assert (await book(await people.patient(), slot["id"])).status_code == 404
    assert (await doctor.delete(f"/booking/slots/{slot['id']}")).status_code == 404
    assert (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json()["items"] == []


async def test_a_booked_slot_cannot_be_withdrawn(people: People, clinic: Clinic) -> None:
    """Somebody relies on it."""
    doctor = await clinic.doctor()
    appointment = await clinic.appointment(await people.patient(), doctor)

    reply = await doctor.delete(f"/booking/slots/{appointment['slot_id']}")

    assert (reply.status_code, reply.json()["type"]) == (409, "slot-booked")


async def test_nobody_withdraws_another_doctors_slot(clinic: Clinic) -> None:
    """It does not exist for them."""
    owner, other = await clinic.doctor(), await clinic.doctor()
    (slot,) = await clinic.slots(owner)

    assert (await other.delete(f"/booking/slots/{slot['id']}")).status_code == 404


async def test_a_patient_is_in_one_place_at_a_time(people: People, clinic: Clinic) -> None:
    """Two doctors at overlapping times: the second booking is refused by name."""
    patient = await people.patient()
    await clinic.appointment(patient)
    (overlapping,) = await clinic.slots(await clinic.doctor(), starts_at=clinic.opens_at + timedelta(minutes=29))

    reply = await book(patient, overlapping["id"])

    assert (reply.status_code, reply.json()["type"]) == (409, "patient-busy")


async def test_only_patients_book(people: People, clinic: Clinic) -> None:
    """Doctors and admins may not; nobody without a token either."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)

    assert (await book(doctor, slot["id"])).status_code == 403
    assert (await book(await people.admin(), slot["id"])).status_code == 403
    assert (await people.nobody.post("/booking/slots/book", {"slot_id": slot["id"]})).status_code == 401


async def test_the_slots_of_a_former_doctor_cannot_be_booked(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """The role is looked at in the booking's own transaction, not when the entry was listed."""
    doctor, patient = await clinic.doctor(), await people.patient()
    (slot,) = await clinic.slots(doctor)
    await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(doctor.id))

    assert (await book(patient, slot["id"])).status_code == 404


async def test_a_repeated_key_gives_the_same_bytes(people: People, clinic: Clinic, owner: asyncpg.Connection) -> None:
    """Also for a refusal; and another body under the key is refused."""
    patient, rival = await people.patients(2)
    first, second = await clinic.slots(await clinic.doctor(), 2)

    booked = [await book(patient, first["id"], key="k") for _ in range(3)]
    refused = [await book(rival, first["id"], key="k") for _ in range(3)]
    other = await book(patient, second["id"], key="k")

    assert len({reply.content for reply in booked}) == len({reply.content for reply in refused}) == 1
    assert [r.status_code for r in (*booked, *refused)] == [201] * 3 + [409] * 3
    assert [r.headers.get("Idempotency-Replayed") for r in (*booked, *refused)] == [None, "true", "true"] * 2
    assert booked[0].headers["Location"] == booked[2].headers["Location"]
    assert (other.status_code, other.json()["type"]) == (422, "key-reused")
    assert (
        await owner.fetchval("SELECT count(*) FROM booking.appointments WHERE patient_id = $1", UUID(patient.id)) == 1
    )


async def test_a_refusal_under_a_key_stays_a_refusal(people: People, clinic: Clinic) -> None:
    """The slot opens again, yet the old key gives the old answer; a new one books."""
    patient, rival = await people.patients(2)
    appointment = await clinic.appointment(patient)
    assert (await book(rival, appointment["slot_id"], key="k")).status_code == 409
    assert (await patient.post(f"/booking/appointments/{appointment['id']}/cancel")).status_code == 200

    assert (await book(rival, appointment["slot_id"], key="k")).status_code == 409
    assert (await book(rival, appointment["slot_id"], key="l")).status_code == 201


async def test_a_former_doctor_leaves_the_directory_at_once(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """No worker runs here: the role is looked at as it is, by the directory and by a search that nobody has cached."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor)
    await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(doctor.id))

    listed = (await people.nobody.get("/booking/doctors", limit=100)).json()["items"]

    assert doctor.id not in {one["id"] for one in listed}
    assert (await people.nobody.get(f"/booking/doctors/{doctor.id}")).status_code == 404
    assert (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json()["items"] == []
    assert (await (await people.admin()).get(f"/booking/doctors/{doctor.id}")).status_code == 200
