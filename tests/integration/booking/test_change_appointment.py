"""Cancelling and moving: the slot is open again at once, and a move happens in one step or not at all."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import Caller, People
from tests.support.stalls import slot_locked, waiting_for_locks
from tests.support.waiting import until

from telemed.kernel.clock import ManualClock


async def open_slots(caller: Caller, doctor_id: str) -> list[str]:
    reply = await caller.get("/booking/slots/search", doctor_id=doctor_id)
    return [item["id"] for item in reply.json()["items"]]


async def test_a_cancelled_slot_is_open_again_at_once(people: People, clinic: Clinic) -> None:
    """In search, and for the next patient; and again, and again."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)

    for _ in range(3):
        patient = await people.patient()
        booked = await patient.post("/booking/slots/book", {"slot_id": slot["id"]})
        assert await open_slots(people.nobody, doctor.id) == []
        cancelled = await patient.post(f"/booking/appointments/{booked.json()['id']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        assert await open_slots(people.nobody, doctor.id) == [slot["id"]]


async def test_the_doctor_may_cancel_too(people: People, clinic: Clinic) -> None:
    """Either side."""
    doctor = await clinic.doctor()
    appointment = await clinic.appointment(await people.patient(), doctor)

    assert (await doctor.post(f"/booking/appointments/{appointment['id']}/cancel")).status_code == 200


async def test_nobody_else_changes_an_appointment(people: People, clinic: Clinic, owner: asyncpg.Connection) -> None:
    """To others it does not exist, and their attempt is on record."""
    appointment = await clinic.appointment(await people.patient())
    strangers = [await people.patient(), await clinic.doctor(), await people.admin()]

    for stranger in strangers:
        for path in ("cancel", "reschedule"):
            body = {"slot_id": appointment["slot_id"]}
            reply = await stranger.post(f"/booking/appointments/{appointment['id']}/{path}", body)
            assert reply.status_code == 404
        assert (await stranger.get(f"/booking/appointments/{appointment['id']}")).status_code == 404
    denied = await owner.fetchval(
        "SELECT count(*) FROM audit.records WHERE entity_id = $1 AND outcome = 'denied' AND patient_id = $2",
        UUID(appointment["id"]),
        UUID(appointment["patient_id"]),
    )
    assert denied == 3 * len(strangers)


async def test_a_move_gives_one_slot_back_and_takes_the_other(people: People, clinic: Clinic) -> None:
    """The old appointment stays as rescheduled; its consultation is cancelled, the new one's is booked."""
    doctor, patient = await clinic.doctor(), await people.patient()
    old = await clinic.appointment(patient, doctor)
    (other,) = await clinic.slots(doctor, starts_at=clinic.opens_at.replace(hour=15))

    reply = await patient.post(f"/booking/appointments/{old['id']}/reschedule", {"slot_id": other["id"]})

    new = reply.json()
    assert (reply.status_code, new["status"], new["slot_id"]) == (200, "booked", other["id"])
    assert (await patient.get(f"/booking/appointments/{old['id']}")).json()["status"] == "rescheduled"
    assert (await patient.get(f"/consultation/{old['id']}")).json()["status"] == "cancelled"
    assert (await patient.get(f"/consultation/{new['id']}")).json()["status"] == "booked"
    assert await open_slots(people.nobody, doctor.id) == [old["slot_id"]]


async def test_a_refused_move_changes_nothing(people: People, clinic: Clinic) -> None:
    """Taken, unknown, or another doctor's slot: the old appointment stands and its slot stays taken."""
    doctor, patient = await clinic.doctor(), await people.patient()
    mine = await clinic.appointment(patient, doctor)
    later = clinic.opens_at.replace(hour=15)
    taken = await clinic.appointment(await people.patient(), doctor, starts_at=later)
    (foreign,) = await clinic.slots(await clinic.doctor(), starts_at=later)

    heard = [
        (await patient.post(f"/booking/appointments/{mine['id']}/reschedule", {"slot_id": slot_id})).json()["type"]
        for slot_id in (taken["slot_id"], str(uuid4()), foreign["id"], mine["slot_id"])
    ]

    assert heard == ["slot-taken", "not-found", "different-doctor", "slot-taken"]
    assert (await patient.get(f"/booking/appointments/{mine['id']}")).json() == mine
    assert await open_slots(people.nobody, doctor.id) == []


async def test_a_doctor_who_learns_that_the_patient_is_busy_is_in_the_trail(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """It says that the patient is with somebody else then; the patient themselves leaves no record by it."""
    doctor, patient = await clinic.doctor(), await people.patient()
    first, second = await clinic.slots(doctor, 2)
    moved = (await patient.post("/booking/slots/book", {"slot_id": first["id"]})).json()
    (elsewhere,) = await clinic.slots(await clinic.doctor(), starts_at=datetime.fromisoformat(second["starts_at"]))
    assert (await patient.post("/booking/slots/book", {"slot_id": elsewhere["id"]})).status_code == 201
    path, body = f"/booking/appointments/{moved['id']}/reschedule", {"slot_id": second["id"]}

    told = [await caller.post(path, body, key="k") for caller in (doctor, patient)]

    assert {reply.json()["type"] for reply in told} == {"patient-busy"}
    query = "SELECT action, outcome, patient_id, details FROM audit.records WHERE request_id = $1"
    by_doctor, by_patient = [await owner.fetch(query, reply.headers["X-Request-ID"]) for reply in told]
    assert [tuple(record) for record in by_doctor] == [
        ("appointment.reschedule", "failed", UUID(patient.id), '{"reason": "patient-busy"}')
    ]
    assert by_patient == []


async def test_two_moves_at_once_leave_one_appointment(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """One wins, the other hears that it was rescheduled; exactly one slot is occupied."""
    doctor, patient = await clinic.doctor(), await people.patient()
    mine = await clinic.appointment(patient, doctor)
    targets = await clinic.slots(doctor, 6, starts_at=clinic.opens_at.replace(hour=12))

    replies = await asyncio.gather(
        *(
            patient.post(f"/booking/appointments/{mine['id']}/reschedule", {"slot_id": target["id"]})
            for target in targets
        )
    )

    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 5
    assert {r.json()["state"] for r in replies if r.status_code == 409} == {"rescheduled"}
    count = "SELECT count(*) FROM booking.appointments WHERE patient_id = $1 AND status = 'booked'"
    assert await owner.fetchval(count, UUID(patient.id)) == 1
    assert len(await open_slots(people.nobody, doctor.id)) == 6


async def test_two_who_exchange_slots_do_not_block_each_other(people: People, clinic: Clinic) -> None:
    """Each wants the other's slot: both are refused, in no order do they deadlock."""
    doctor = await clinic.doctor()
    first, second = await people.patients(2)
    a = await clinic.appointment(first, doctor)
    b = await clinic.appointment(second, doctor, starts_at=clinic.opens_at.replace(hour=15))

    replies = await asyncio.gather(
        *(
            patient.post(f"/booking/appointments/{one['id']}/reschedule", {"slot_id": other["slot_id"]})
            for _ in range(5)
            for patient, one, other in ((first, a, b), (second, b, a))
        )
    )

    assert {(reply.status_code, reply.json()["type"]) for reply in replies} == {(409, "slot-taken")}


async def test_a_cancellation_and_a_start_cannot_both_win(people: People, clinic: Clinic) -> None:
    """The state machine has one row and one lock: whoever is second hears the state."""
    for _ in range(5):
        doctor, patient = await clinic.doctor(), await people.patient()
        appointment = await clinic.appointment(patient, doctor)
        cancel = patient.post(f"/booking/appointments/{appointment['id']}/cancel")
        move = doctor.post(f"/booking/appointments/{appointment['id']}/cancel")

        replies = await asyncio.gather(cancel, move)

        assert sorted(reply.status_code for reply in replies) == [200, 409]


async def test_a_patient_leaves_before_the_appointment_begins(
    people: People, clinic: Clinic, clock: ManualClock
) -> None:
    """Afterwards not coming is for the doctor to record; the doctor may still cancel."""
    doctor, patient = await clinic.doctor(), await people.patient()
    appointment = await clinic.appointment(patient, doctor, starts_at=clock.now() + timedelta(minutes=5))
    (later,) = await clinic.slots(doctor)
    clock.advance(timedelta(minutes=5))
    path = f"/booking/appointments/{appointment['id']}"

    heard = [await patient.post(f"{path}/cancel"), await patient.post(f"{path}/reschedule", {"slot_id": later["id"]})]

    assert [(reply.status_code, reply.json()["type"]) for reply in heard] == [(409, "appointment-begun")] * 2
    assert (await doctor.post(f"{path}/cancel")).status_code == 200


async def test_a_body_that_nobody_asked_for_is_part_of_the_request(people: People, clinic: Clinic) -> None:
    """The same key with another body is refused, also where no body is read."""
    patient = await people.patient()
    appointment = await clinic.appointment(patient)
    path = f"/booking/appointments/{appointment['id']}/cancel"

    replies = [await patient.post(path, {"why": why}, key="k") for why in (1, 1, 2)]

    assert [reply.status_code for reply in replies] == [200, 200, 422]
    assert replies[2].json()["type"] == "key-reused"


async def test_own_appointments_come_in_pages(people: People, clinic: Clinic) -> None:
    """Latest first, complete, without repetition, for both sides."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = await clinic.slots(doctor, 7)
    for slot in slots:
        assert (await patient.post("/booking/slots/book", {"slot_id": slot["id"]})).status_code == 201

    for caller in (patient, doctor):
        seen: list[str] = []
        cursor = None
        while True:
            page = (await caller.get("/booking/appointments", limit=3, cursor=cursor)).json()
            seen += [item["slot_id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [slot["id"] for slot in reversed(slots)]
    assert (await patient.get("/booking/appointments", status="cancelled")).json()["items"] == []


async def test_a_former_doctors_slot_is_not_moved_to(
    people: People, clinic: Clinic, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """Although they were a doctor when the move began to wait for the slot."""
    doctor, patient = await clinic.doctor(), await people.patient()
    appointment = await clinic.appointment(patient, doctor)
    (wanted,) = await clinic.slots(doctor, starts_at=clinic.opens_at + timedelta(hours=3))

    async def is_waiting() -> bool:
        return await waiting_for_locks(owner) >= 1

    async with slot_locked(database.owner, wanted["id"]):
        moving = asyncio.create_task(
            patient.post(f"/booking/appointments/{appointment['id']}/reschedule", {"slot_id": wanted["id"]})
        )
        await until(is_waiting)
        await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(doctor.id))

    moved = await moving
    assert (moved.status_code, moved.json()["type"]) == (404, "not-found")
    kept = await owner.fetchval("SELECT status FROM booking.appointments WHERE id = $1", UUID(appointment["id"]))
    assert kept == "booked"
