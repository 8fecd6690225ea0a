"""Races between processes: whoever is many and at once, there is one winner, and everybody else hears why."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from tests.support.clinic import SLOT, doctor_card
from tests.support.fleet import Fleet
from tests.support.people import Caller, User
from tests.support.scenes import PASSWORD, PRESCRIBE, example_of
from tests.support.waiting import until

from telemed.kernel.text import rfc3339

# Booking has three processes, as it would have on a busy evening, and auth two for the storm of refreshes.
FLEET = ("booking", "booking", "booking", "auth", "auth", "consultation")
RIVALS = 200


async def at_once(requests: Iterable[Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """Send everything at the same time."""
    return list(await asyncio.gather(*requests))


def heard(replies: Iterable[httpx.Response]) -> Counter[str]:
    """Count the replies by the status of a success, or by the problem's type."""
    return Counter(str(reply.status_code) if reply.is_success else str(reply.json()["type"]) for reply in replies)


def batch(start: Any, count: int) -> dict[str, Any]:
    times = [(start + SLOT * place, start + SLOT * (place + 1)) for place in range(count)]
    return {"slots": [{"starts_at": rfc3339(begin), "ends_at": rfc3339(end)} for begin, end in times]}


async def appointment_about_to_start(fleet: Fleet, doctor: User, patient: User) -> str:
    """Book a slot and move its time close, so that its visit may start and its patient may still leave."""
    appointment = await fleet.clinic.appointment(patient, doctor)
    await fleet.owner.execute(
        "UPDATE booking.appointments SET starts_at = now() + interval '10 minutes', "
        "ends_at = now() + interval '40 minutes' WHERE id = $1",
        UUID(appointment["id"]),
    )
    return str(appointment["id"])


async def test_of_two_hundred_patients_one_gets_the_slot(fleet: Fleet) -> None:
    """Over three processes: one 201, 199 times `slot-taken`, nothing else."""
    (slot,) = await fleet.clinic.slots(await fleet.clinic.doctor())
    patients = await fleet.people.patients(RIVALS)

    replies = await at_once(patient.post("/booking/slots/book", {"slot_id": slot["id"]}) for patient in patients)

    assert heard(replies) == {"201": 1, "slot-taken": RIVALS - 1}
    assert await fleet.faults() == {}


async def test_every_slot_of_many_finds_one_patient(fleet: Fleet) -> None:
    """Twenty slots of two doctors, ten patients for each: twenty bookings, all others are taken."""
    doctors = [await fleet.clinic.doctor() for _ in range(2)]
    slots = [slot["id"] for doctor in doctors for slot in await fleet.clinic.slots(doctor, 10)]
    wishes = [(slot, patient) for slot in slots for patient in await fleet.people.patients(10)]

    replies = await at_once(patient.post("/booking/slots/book", {"slot_id": slot}) for slot, patient in wishes)

    won = Counter(slot for (slot, _), reply in zip(wishes, replies, strict=True) if reply.status_code == 201)
    assert won == dict.fromkeys(slots, 1)
    assert heard(replies) == {"201": 20, "slot-taken": 180}
    assert await fleet.faults() == {}


async def test_of_overlapping_batches_one_is_published(fleet: Fleet) -> None:
    """All of one batch or none of it: a doctor with ten tabs open ends up with one calendar."""
    doctor = await fleet.clinic.doctor()
    begin = fleet.clinic.opens_at
    bodies = [batch(begin + timedelta(minutes=10 * tab), 8) for tab in range(10)]

    replies = await at_once(doctor.post("/booking/slots", body) for body in bodies)

    assert heard(replies) == {"201": 1, "slot-overlap": 9}
    published = await fleet.owner.fetchval("SELECT count(*) FROM booking.slots WHERE doctor_id = $1", UUID(doctor.id))
    assert published == 8


async def test_withdrawing_and_booking_never_both_win(fleet: Fleet) -> None:
    """Ten slots, each wanted back by its doctor and wanted by a patient at the same time."""
    doctor = await fleet.clinic.doctor()
    slots = await fleet.clinic.slots(doctor, 10)
    patients = await fleet.people.patients(10)

    async def pair(slot: dict[str, Any], patient: User) -> list[httpx.Response]:
        return await at_once(
            [
                patient.post("/booking/slots/book", {"slot_id": slot["id"]}),
                doctor.delete(f"/booking/slots/{slot['id']}"),
            ]
        )

    for replies in await asyncio.gather(*map(pair, slots, patients)):
        assert heard(replies) in ({"201": 1, "slot-booked": 1}, {"not-found": 1, "204": 1})
    assert await fleet.faults() == {}


async def test_a_cancellation_and_a_start_never_both_win(fleet: Fleet) -> None:
    """The patient cancels while the doctor starts the visit, in another service's process: one of them is refused."""
    ended = Counter[str]()
    for _ in range(8):
        doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
        visit = await appointment_about_to_start(fleet, doctor, patient)
        cancel, start = await at_once(
            [patient.post(f"/booking/appointments/{visit}/cancel"), doctor.post(f"/consultation/{visit}/start")]
        )
        assert sorted([cancel.status_code, start.status_code]) == [200, 409]
        loser = cancel if cancel.status_code == 409 else start
        assert loser.json()["type"] == "step-not-allowed"
        winner = "cancelled" if cancel.status_code == 200 else "in_progress"
        assert loser.json()["state"] == winner
        ended[winner] += 1
    assert await fleet.faults() == {}


async def test_cancelling_and_moving_never_both_win(fleet: Fleet) -> None:
    """Patient and doctor change their minds at once: the appointment is cancelled or moved, not both."""
    for _ in range(6):
        doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
        first, second = await fleet.clinic.slots(doctor, 2)
        booked = (await patient.post("/booking/slots/book", {"slot_id": first["id"]})).json()
        cancel, move = await at_once(
            [
                doctor.post(f"/booking/appointments/{booked['id']}/cancel"),
                patient.post(f"/booking/appointments/{booked['id']}/reschedule", {"slot_id": second["id"]}),
            ]
        )
        assert sorted([cancel.status_code, move.status_code]) == [200, 409]
        standing = await fleet.owner.fetchval(
            "SELECT count(*) FROM booking.appointments WHERE patient_id = $1 AND status = 'booked'", UUID(patient.id)
        )
        assert standing == (1 if move.is_success else 0)
    assert await fleet.faults() == {}


async def test_an_appointment_that_is_moved_twice_at_once_is_moved_once(fleet: Fleet) -> None:
    """Two concurrent moves leave one appointment, not two."""
    doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
    first, *others = await fleet.clinic.slots(doctor, 6)
    booked = (await patient.post("/booking/slots/book", {"slot_id": first["id"]})).json()

    replies = await at_once(
        patient.post(f"/booking/appointments/{booked['id']}/reschedule", {"slot_id": slot["id"]}) for slot in others
    )

    assert heard(replies) == {"200": 1, "step-not-allowed": 4}
    assert await fleet.faults() == {}


async def test_patients_who_exchange_their_slots_do_not_lock_each_other_out(fleet: Fleet) -> None:
    """Twenty who all move to one of four slots that opened: one winner each, and nobody waits in a circle."""
    doctor = await fleet.clinic.doctor()
    slots = await fleet.clinic.slots(doctor, 24)
    patients = await fleet.people.patients(20)
    booked = [
        (await patient.post("/booking/slots/book", {"slot_id": slot["id"]})).json()["id"]
        for patient, slot in zip(patients, slots, strict=False)
    ]

    replies = await at_once(
        patient.post(f"/booking/appointments/{visit}/reschedule", {"slot_id": slots[20 + place % 4]["id"]})
        for place, (patient, visit) in enumerate(zip(patients, booked, strict=True))
    )

    assert heard(replies) == {"200": 4, "slot-taken": 16}
    assert await fleet.faults() == {}


async def test_one_address_is_registered_once(fleet: Fleet) -> None:
    """Twenty at once over two processes: one account, and nineteen hear that there is one."""
    body = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD, "full_name": "Asha Rao"}

    replies = await at_once(fleet.people.nobody.post("/auth/register", body) for _ in range(20))

    assert heard(replies) == {"201": 1, "email-taken": 19}
    assert await fleet.owner.fetchval("SELECT count(*) FROM auth.users WHERE email = $1", body["email"]) == 1


async def test_the_last_two_administrators_cannot_remove_each_other(fleet: Fleet) -> None:
    """One of them stays, whoever was first."""
    for _ in range(5):
        await fleet.owner.execute("UPDATE auth.users SET role = 'patient' WHERE role = 'admin'")
        one, two = await fleet.people.admin(), await fleet.people.admin()
        replies = await at_once(
            [
                one.post("/auth/admin/role", {"user_id": two.id, "role": "patient"}),
                two.post("/auth/admin/role", {"user_id": one.id, "role": "patient"}),
            ]
        )
        assert heard(replies) == {"200": 1, "forbidden": 1}
        assert await fleet.owner.fetchval("SELECT count(*) FROM auth.users WHERE role = 'admin'") == 1


async def test_administrators_who_step_down_at_once_leave_one(fleet: Fleet) -> None:
    """Each gives up their own role: the last one is refused."""
    await fleet.owner.execute("UPDATE auth.users SET role = 'patient' WHERE role = 'admin'")
    admins = [await fleet.people.admin() for _ in range(4)]

    replies = await at_once(
        admin.post("/auth/admin/role", {"user_id": admin.id, "role": "patient"}) for admin in admins
    )

    assert heard(replies) == {"200": 3, "last-admin": 1}


async def test_prescriptions_at_once_supersede_one_another(fleet: Fleet) -> None:
    """Ten at once: ten versions without a gap, each replacing the one before."""
    doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
    visit = await appointment_about_to_start(fleet, doctor, patient)
    assert (await doctor.post(f"/consultation/{visit}/start")).status_code == 200

    replies = await at_once(
        doctor.post(f"/consultation/{visit}/prescription", example_of(PRESCRIBE)) for _ in range(10)
    )

    assert heard(replies) == {"201": 10}
    issued = sorted((reply.json() for reply in replies), key=lambda one: one["version"])
    assert [one["version"] for one in issued] == list(range(1, 11))
    assert [one["supersedes"] for one in issued] == [None, *(one["id"] for one in issued[:-1])]


async def test_steps_at_once_happen_once(fleet: Fleet) -> None:
    """A doctor who taps ten times has started one visit, and completed one."""
    doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
    visit = await appointment_about_to_start(fleet, doctor, patient)

    for step in ("start", "complete"):
        replies = await at_once(doctor.post(f"/consultation/{visit}/{step}") for _ in range(10))
        assert heard(replies) == {"200": 1, "step-not-allowed": 9}


async def test_a_storm_of_refreshes_neither_forks_the_family_nor_logs_out(fleet: Fleet) -> None:
    """A hundred at once with one token: one successor for all of them, and the client goes on with it."""
    nobody = fleet.people.nobody
    account = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    assert (await nobody.post("/auth/register", account | {"full_name": "Asha Rao"})).status_code == 201
    tokens = (await nobody.post("/auth/login", account)).json()

    replies = await at_once(
        nobody.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}) for _ in range(100)
    )

    assert heard(replies) == {"200": 100}
    assert len({reply.json()["refresh_token"] for reply in replies}) == 1
    newest = replies[0].json()
    assert (await Caller(fleet.client, newest["access_token"]).get("/auth/me")).status_code == 200
    assert (await nobody.post("/auth/refresh", {"refresh_token": newest["refresh_token"]})).status_code == 200


async def test_a_refresh_judges_by_what_it_waited_for(fleet: Fleet) -> None:
    """A duplicate that was held up while the client went on twice is a reuse; it must not turn the family back."""
    nobody, account = fleet.people.nobody, {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    assert (await nobody.post("/auth/register", account | {"full_name": "Asha Rao"})).status_code == 201
    tokens = (await nobody.post("/auth/login", account)).json()
    user = Caller(fleet.client, tokens["access_token"])
    mine = "id = (SELECT s.id FROM auth.sessions AS s JOIN auth.users AS u ON u.id = s.user_id WHERE u.email = $1)"
    async with fleet.owner.transaction():
        await fleet.owner.execute(f"SELECT FROM auth.sessions WHERE {mine} FOR UPDATE", account["email"])
        late = asyncio.create_task(nobody.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}))
        await until(lambda: somebody_waits_for(fleet.owner))
        await fleet.owner.execute(
            f"UPDATE auth.sessions SET generation = 2, rotated_at = now() WHERE {mine}", account["email"]
        )

    assert heard([await late]) == {"invalid-refresh-token": 1}
    assert (await user.get("/auth/me")).status_code == 401


async def somebody_waits_for(owner: asyncpg.Connection) -> bool:
    """Tell whether another transaction waits for this connection's locks."""
    waiting = "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    return bool(await owner.fetchval(f"SELECT EXISTS ({waiting})"))


async def test_first_entries_of_one_doctor_at_once_make_one(fleet: Fleet) -> None:
    """There is no row to queue on yet, and still nobody gets a server error."""
    doctor = await fleet.people.doctor()

    replies = await at_once(
        doctor.put("/booking/doctors/me", doctor_card(bio=f"Draft {number}.")) for number in range(10)
    )

    assert heard(replies) == {"200": 10}
    assert await fleet.owner.fetchval("SELECT version FROM booking.doctors WHERE id = $1", UUID(doctor.id)) == 10
