"""Roles and sessions hold from the moment their change is acknowledged: for tokens already out, in every process."""

import asyncio
import secrets
from uuid import UUID

import httpx
import pytest
from tests.support.clinic import doctor_card
from tests.support.fleet import Fleet
from tests.support.people import Caller, User
from tests.support.scenes import PASSWORD, PRESCRIBE, example_of
from tests.support.waiting import until

FLEET = ("auth", "auth", "booking", "booking", "consultation", "worker")
BOOK = "/booking/slots/book"


async def give_role(fleet: Fleet, user: User, role: str) -> None:
    """Change the role over HTTP; from the reply on it holds."""
    admin = await fleet.people.admin()
    reply = await admin.post("/auth/admin/role", {"user_id": user.id, "role": role})
    assert (reply.status_code, reply.json()["role"]) == (200, role)


async def on_every(fleet: Fleet, name: str, user: User, method: str, path: str, body: object = None) -> list[str]:
    """Send the request to each process of the service; give what each said."""
    replies = [await fleet.at(user, process).request(method, path, body) for process in fleet.of(name)]
    return [str(reply.status_code) if reply.is_success else str(reply.json()["type"]) for reply in replies]


async def searched(fleet: Fleet, doctor: User) -> list[str]:
    reply = await fleet.client.get("/booking/slots/search", params={"doctor_id": doctor.id})
    return [item["id"] for item in reply.raise_for_status().json()["items"]]


async def test_who_was_made_a_doctor_is_one_everywhere_at_once(fleet: Fleet) -> None:
    """With the token they had as a patient, in every process."""
    user = await fleet.people.patient()
    assert set(await on_every(fleet, "booking", user, "PUT", "/booking/doctors/me", doctor_card())) == {"forbidden"}

    await give_role(fleet, user, "doctor")

    assert set(await on_every(fleet, "booking", user, "PUT", "/booking/doctors/me", doctor_card())) == {"200"}
    for process in fleet.of("auth"):
        assert (await fleet.at(user, process).get("/auth/me")).json()["role"] == "doctor"
    (slot,) = await fleet.clinic.slots(user)
    # The other way round too: a doctor does not book.
    assert set(await on_every(fleet, "booking", user, "POST", BOOK, {"slot_id": slot["id"]})) == {"forbidden"}


async def test_who_was_a_doctor_is_none_anywhere_at_once(fleet: Fleet) -> None:
    """Publishing, starting, prescribing and the patients' data end with the role, for the token that is out."""
    doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
    visit = (await fleet.clinic.appointment(patient, doctor))["id"]
    await fleet.owner.execute(
        "UPDATE booking.appointments SET starts_at = now(), ends_at = now() + interval '20 minutes' WHERE id = $1",
        UUID(visit),
    )
    assert await on_every(fleet, "consultation", doctor, "POST", f"/consultation/{visit}/start") == ["200"]

    await give_role(fleet, doctor, "patient")

    assert set(await on_every(fleet, "booking", doctor, "PUT", "/booking/doctors/me", doctor_card())) == {"forbidden"}
    assert set(await on_every(fleet, "booking", doctor, "GET", f"/booking/appointments/{visit}")) == {"not-found"}
    at = f"/consultation/{visit}"
    for method, path, body in (
        ("POST", f"{at}/complete", None),
        ("POST", f"{at}/prescription", example_of(PRESCRIBE)),
    ):
        (said,) = await on_every(fleet, "consultation", doctor, method, path, body)
        assert said in {"forbidden", "not-found"}
    assert await on_every(fleet, "consultation", doctor, "GET", at) == ["not-found"]
    assert await on_every(fleet, "consultation", patient, "GET", at) == ["200"], "it stays the patient's"


async def test_a_former_doctors_slots_cannot_be_booked(fleet: Fleet) -> None:
    """At once, in every process; from search they go when the worker has heard of it, and come back with the role."""
    doctor, patient = await fleet.clinic.doctor(), await fleet.people.patient()
    slots = [slot["id"] for slot in await fleet.clinic.slots(doctor, 3)]
    assert await searched(fleet, doctor) == slots

    await give_role(fleet, doctor, "patient")

    assert set(await on_every(fleet, "booking", patient, "POST", BOOK, {"slot_id": slots[0]})) == {"not-found"}

    async def is_found(expected: list[str]) -> bool:
        return await searched(fleet, doctor) == expected

    await until(lambda: is_found([]))
    await give_role(fleet, doctor, "doctor")
    await until(lambda: is_found(slots))
    assert (await patient.post(BOOK, {"slot_id": slots[0]})).status_code == 201


async def test_a_former_administrator_is_none_at_once(fleet: Fleet) -> None:
    """Neither the roles of others nor the trail are theirs any more."""
    former = await fleet.people.admin()
    assert set(await on_every(fleet, "auth", former, "GET", "/audit/events?limit=1")) == {"200"}
    await give_role(fleet, former, "patient")
    body = {"user_id": former.id, "role": "admin"}
    assert set(await on_every(fleet, "auth", former, "POST", "/auth/admin/role", body)) == {"forbidden"}
    assert set(await on_every(fleet, "auth", former, "GET", "/audit/events?limit=1")) == {"forbidden"}


async def test_bookings_that_race_with_a_demotion_end_before_it_or_not_at_all(fleet: Fleet) -> None:
    """No booking is acknowledged that was begun after the demotion was."""
    doctor = await fleet.clinic.doctor()
    slots = await fleet.clinic.slots(doctor, 20)
    patients = await fleet.people.patients(20)
    demoted = asyncio.Event()

    async def book(patient: User, slot_id: str) -> tuple[bool, httpx.Response]:
        begun_after = demoted.is_set()
        return begun_after, await patient.post(BOOK, {"slot_id": slot_id})

    async def demote() -> None:
        await give_role(fleet, doctor, "patient")
        demoted.set()

    async def bookings() -> list[tuple[bool, httpx.Response]]:
        pairs = list(zip(patients, slots, strict=True))
        early = asyncio.gather(*(book(patient, slot["id"]) for patient, slot in pairs[:10]))
        await demoted.wait()
        late = await asyncio.gather(*(book(patient, slot["id"]) for patient, slot in pairs[10:]))
        return [*await early, *late]

    heard, _ = await asyncio.gather(bookings(), demote())
    for begun_after, reply in heard:
        assert reply.status_code in ({404} if begun_after else {201, 404}), reply.text
    assert sum(begun_after for begun_after, _ in heard) == 10


async def logged_in(fleet: Fleet) -> dict[str, str]:
    """Register somebody and log them in; gives the tokens."""
    account = {"email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    nobody = fleet.people.nobody
    assert (await nobody.post("/auth/register", account | {"full_name": "Asha Rao"})).status_code == 201
    tokens: dict[str, str] = (await nobody.post("/auth/login", account)).json()
    return tokens


async def refused_everywhere(fleet: Fleet, access_token: str) -> bool:
    """Tell whether no process lets the token in."""
    paths = {"auth": "/auth/me", "booking": "/booking/appointments", "consultation": "/consultation"}
    headers = {"Authorization": f"Bearer {access_token}"}
    statuses = {
        (await fleet.direct[process.port].get(path, headers=headers)).status_code
        for name, path in paths.items()
        for process in fleet.of(name)
    }
    assert statuses in ({200}, {401}), statuses
    return statuses == {401}


async def test_a_logout_holds_in_every_process_at_once(fleet: Fleet) -> None:
    """The access token would be valid for minutes."""
    tokens = await logged_in(fleet)
    assert not await refused_everywhere(fleet, tokens["access_token"])
    assert (await Caller(fleet.client, tokens["access_token"]).post("/auth/logout")).status_code == 204
    assert await refused_everywhere(fleet, tokens["access_token"])


@pytest.mark.parametrize("generations_old", [2, 1])
async def test_a_stolen_refresh_token_ends_the_session_in_every_process_at_once(
    fleet: Fleet, generations_old: int
) -> None:
    """Whoever comes second with a token that was used up: all tokens of the family are refused, everywhere."""
    nobody = fleet.people.nobody
    stolen = await logged_in(fleet)
    first = (await nobody.post("/auth/refresh", {"refresh_token": stolen["refresh_token"]})).json()
    second = (await nobody.post("/auth/refresh", {"refresh_token": first["refresh_token"]})).json()
    tokens = [one["access_token"] for one in (stolen, first, second)]
    assert not any([await refused_everywhere(fleet, token) for token in tokens])

    late = {2: stolen, 1: first}[generations_old]
    if generations_old == 1:  # a repeat within the grace, and reuse after it
        await fleet.owner.execute("UPDATE auth.sessions SET rotated_at = rotated_at - interval '1 minute'")
    reply = await nobody.post("/auth/refresh", {"refresh_token": late["refresh_token"]})

    assert (reply.status_code, reply.json()["type"]) == (401, "invalid-refresh-token")
    assert all([await refused_everywhere(fleet, token) for token in tokens])
    assert (await nobody.post("/auth/refresh", {"refresh_token": second["refresh_token"]})).status_code == 401
