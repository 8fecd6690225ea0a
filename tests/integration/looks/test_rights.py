"""Who is shown what, and what the trail says of it; on the straight way and on the ordinary one."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.integration.looks.conftest import SECRETS, Scene
from tests.support.express import BehindExpress
from tests.support.people import Caller, People

from telemed.kernel.ids import uuid7

OF_THE_VISIT = ("appointment", "consultation", "prescription")
LISTS = ("appointments", "consultations")
# Whatever role they have had: each is let in with the one that they have now.
MEMBERS = ("patient", "doctor", "other patient", "other doctor", "admin")
READ = {"appointment": "appointment.read", "consultation": "consultation.read", "prescription": "prescription.read"}


@pytest.fixture
def ways(app: BehindExpress) -> tuple[BehindExpress, Any]:
    """The application, and its straight ways."""
    return app, app.edge.straight


async def look(scene: Scene, caller: Caller, path: str) -> tuple[httpx.Response, list[tuple[Any, ...]]]:
    request_id = str(uuid7())
    reply = await caller.get(path, headers={"X-Request-ID": request_id})
    return reply, await scene.records(request_id)


def told(reply: httpx.Response) -> tuple[Any, ...]:
    """What a client is told, without the ids that are every request's own."""
    headers = [(name, value) for name, value in reply.headers.raw if name != b"x-request-id"]
    content = {**reply.json(), "trace_id": ""} if reply.status_code >= 400 else reply.content
    return reply.status_code, headers, content


async def look_both_ways(
    ways: tuple[BehindExpress, Any], scene: Scene, caller: Caller, path: str
) -> tuple[httpx.Response, list[tuple[Any, ...]]]:
    """Look on either way, and see that nobody could tell them apart: neither the client nor an auditor."""
    app, straight = ways
    app.edge.straight = {}
    ordinary, its_records = await look(scene, caller, path)
    app.edge.straight = straight
    reply, records = await look(scene, caller, path)
    assert told(reply) == told(ordinary)
    assert records == its_records
    return reply, records


@pytest.mark.parametrize("name", OF_THE_VISIT)
async def test_a_visit_is_shown_to_its_two_people_alone(
    name: str, scene: Scene, ways: tuple[BehindExpress, Any]
) -> None:
    """A record of each look, and of each denial; to everybody else, admins too, it does not exist."""
    for who, caller in scene.callers.items():
        reply, records = await look_both_ways(ways, scene, caller, scene.paths[name])
        allowed = who in {"patient", "doctor"}
        assert reply.status_code == (200 if allowed else 404 if who in MEMBERS else 401), who
        assert [(row[0], row[1]) for row in records] == (
            [(READ[name], "allowed" if allowed else "denied")] if who in MEMBERS else []
        ), who
        if who in MEMBERS:
            assert str(records[0][2]) == caller.id  # type: ignore[attr-defined]  # members are users
            assert str(records[0][6]) == scene.callers["patient"].id  # type: ignore[attr-defined]  # as above
        if not allowed:
            assert not any(secret in reply.text for secret in SECRETS), who


@pytest.mark.parametrize("name", OF_THE_VISIT)
async def test_what_does_not_exist_is_denied_like_what_is_not_yours(
    name: str, scene: Scene, ways: tuple[BehindExpress, Any]
) -> None:
    """The same 404, and a record without a patient."""
    missing = scene.paths[name].replace(scene.visit_id, str(uuid7()))
    reply, records = await look_both_ways(ways, scene, scene.callers["patient"], missing)
    assert reply.status_code == 404
    assert [(row[0], row[1], row[6]) for row in records] == [(READ[name], "denied", None)]


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_shows_ones_own_alone(name: str, scene: Scene, ways: tuple[BehindExpress, Any]) -> None:
    """A record for each item; an empty list shows nothing, so it says nothing."""
    for who, caller in scene.callers.items():
        reply, records = await look_both_ways(ways, scene, caller, scene.paths[name])
        has_one = who in {"patient", "doctor"}
        assert reply.status_code == (200 if who in MEMBERS else 401), who
        if who in MEMBERS:
            assert [item["id"] for item in reply.json()["items"]] == ([scene.visit_id] if has_one else []), who
        assert [(row[0], row[1]) for row in records] == (
            [(f"{name.removesuffix('s')}.read", "allowed")] if has_one else []
        ), who
        if not has_one:
            assert not any(secret in reply.text for secret in SECRETS), who


async def test_oneself_is_shown_to_oneself(scene: Scene, ways: tuple[BehindExpress, Any]) -> None:
    """With a record, which names a patient only if it is one."""
    for who, caller in scene.callers.items():
        reply, records = await look_both_ways(ways, scene, caller, "/auth/me")
        assert reply.status_code == (200 if who in MEMBERS else 401), who
        assert len(records) == (1 if who in MEMBERS else 0)
        if who in MEMBERS:
            assert reply.json()["id"] == caller.id  # type: ignore[attr-defined]  # members are users
            assert (records[0][6] is not None) == ("patient" in who)
        if who != "patient":
            assert SECRETS[2] not in reply.text


@pytest.mark.parametrize("name", ["doctor", "doctors"])
async def test_the_directory_is_everybodys_but_for_the_register(
    name: str, scene: Scene, ways: tuple[BehindExpress, Any]
) -> None:
    """The registration number is the admins' and the doctor's own; a token that is sent must stand."""
    for who, caller in scene.callers.items():
        reply, records = await look_both_ways(ways, scene, caller, scene.paths[name])
        assert reply.status_code == (200 if who in {*MEMBERS, "nobody"} else 401), who
        assert (SECRETS[3] in reply.text) == (who in {"doctor", "admin"}), who
        assert records == []


async def test_who_is_listed_no_more_is_shown_to_who_may_see_all(
    scene: Scene, ways: tuple[BehindExpress, Any], owner: asyncpg.Connection
) -> None:
    """Off the list, or no doctor any more: that is auth's to say, and holds at once."""
    for change in ("UPDATE booking.doctors SET is_listed = false", "UPDATE auth.users SET role = 'patient'"):
        await owner.execute("UPDATE booking.doctors SET is_listed = true")
        await owner.execute(f"{change} WHERE id = $1", UUID(scene.doctor.id))
        for who, status in (("nobody", 404), ("other patient", 404), ("admin", 200), ("doctor", 200)):
            reply, _ = await look_both_ways(ways, scene, scene.callers[who], scene.paths["doctor"])
            assert reply.status_code == status, (change, who)
        listed, _ = await look_both_ways(ways, scene, scene.callers["nobody"], scene.paths["doctors"])
        assert scene.doctor.id not in listed.text


@pytest.mark.parametrize("role", ["patient", "admin"])
async def test_a_doctors_right_ends_with_the_role(
    role: str, scene: Scene, ways: tuple[BehindExpress, Any], owner: asyncpg.Connection
) -> None:
    """With the token that they have; the trail names the role that they have now."""
    await owner.execute("UPDATE auth.users SET role = $2 WHERE id = $1", UUID(scene.doctor.id), role)
    for name in OF_THE_VISIT:
        reply, records = await look_both_ways(ways, scene, scene.doctor, scene.paths[name])
        assert reply.status_code == 404
        assert [(row[1], row[3]) for row in records] == [("denied", role)]
    for name in LISTS:
        reply, records = await look_both_ways(ways, scene, scene.doctor, scene.paths[name])
        assert (reply.json()["items"], records) == ([], [])


ODD = [
    "/booking/appointments?limit=0",
    "/booking/appointments?limit=101",
    "/booking/appointments?limit=two",
    "/booking/appointments?limit=",
    "/booking/appointments?limit=1&limit=2",
    "/booking/appointments?status=in_progress",
    "/booking/appointments?status=",
    "/booking/appointments?cursor=AAAA",
    "/booking/appointments?cursor=",
    "/booking/appointments?cursor=%00",
    "/booking/appointments?unknown=1",
    "/booking/appointments?Limit=1",
    "/booking/appointments?limit=%31&status=booked",
    "/booking/appointments/VISIT?unknown=1",
    "/booking/appointments/%7BVISIT%7D",
    "/booking/appointments/nonsense",
    "/booking/appointments/VISIT/",
    "/booking/appointments/%2F",
    "/consultation?status=rescheduled",
    "/consultation?limit=1&cursor=x",
    "/consultation/nonsense",
    "/consultation/nonsense/prescription",
    "/booking/doctors?language=%00",
    "/booking/doctors?specialization=",
    "/booking/doctors?specialization=CARDIOLOGY&language=HI",
    "/booking/doctors/me",
    "/auth/me?limit=1",
]


@pytest.mark.parametrize("path", ODD)
async def test_an_odd_look_is_judged_alike(path: str, scene: Scene, ways: tuple[BehindExpress, Any]) -> None:
    """Whatever is wrong with it, and by whomever it is sent."""
    for who in ("patient", "ended session", "forged", "nobody"):
        await look_both_ways(ways, scene, scene.callers[who], path.replace("VISIT", scene.visit_id))


async def test_odd_credentials_are_judged_alike(scene: Scene, ways: tuple[BehindExpress, Any]) -> None:
    """Two of them, another scheme, a wide gap: the ordinary way says what it thinks of it."""
    client, token = scene.doctor.client, scene.doctor.token
    for value in (f"bearer {token}", f"Bearer  {token}", f"Basic {token}", "Bearer ", "", f"Bearer {token} {token}"):
        for path in scene.paths.values():
            await look_both_ways(ways, scene, Caller(client, headers={"Authorization": value}), path)
    app, straight = ways
    twice = [("Authorization", f"Bearer {token}")] * 2
    replies, offers = [], list[Any]([straight, {}])
    for offered in offers:
        app.edge.straight = offered
        replies.append(told(await client.get("/auth/me", headers=twice)))
    assert replies[0] == replies[1]
    assert replies[0][0] == 401


async def test_pages_hold_everything_once_and_nothing_of_others(
    scene: Scene, ways: tuple[BehindExpress, Any], people: People, owner: asyncpg.Connection
) -> None:
    """Over cursors, on both ways, for a doctor who is a patient as well, of others and of themselves."""
    await owner.execute(
        """
        INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)
        SELECT gen_random_uuid(), $1, at, at + interval '10 minutes', 'booked', 2
        FROM generate_series(timestamptz '2027-01-01', '2027-01-01 02:00', interval '20 minutes') AS at
        """,
        UUID(scene.doctor.id),
    )
    await owner.execute(
        """
        INSERT INTO booking.appointments
            (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, created_at, version)
        SELECT gen_random_uuid(), id, doctor_id,
            (ARRAY[$1, $2, $3]::uuid[])[1 + row_number() OVER (ORDER BY starts_at) % 3],
            'cancelled', starts_at, ends_at, now(), 1
        FROM booking.slots WHERE starts_at >= timestamptz '2027-01-01'
        """,
        UUID(scene.doctor.id),
        UUID(scene.callers["patient"].id),  # type: ignore[attr-defined]  # a user
        UUID(scene.callers["other doctor"].id),  # type: ignore[attr-defined]  # a user
    )
    expected = {
        str(row["id"])
        for row in await owner.fetch("SELECT id FROM booking.appointments WHERE doctor_id = $1", UUID(scene.doctor.id))
    }
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        path = f"/booking/appointments?limit=3{cursor and '&cursor='}{cursor}"
        reply, records = await look_both_ways(ways, scene, scene.doctor, path)
        page = reply.json()
        assert {str(row[5]) for row in records} == {item["id"] for item in page["items"]}
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(found) == len(expected) == 8
    assert set(found) == expected


async def test_no_look_that_begins_after_a_role_was_taken_shows_anything(scene: Scene, people: People) -> None:
    """Whatever is under way meanwhile; and each answer that was given has its record."""
    admin = scene.callers["admin"]
    path, doctor = scene.paths["consultation"], scene.doctor
    taken = asyncio.Event()
    seen: list[tuple[bool, str, int]] = []

    async def look_on() -> None:
        for _ in range(40):
            was_taken, request_id = taken.is_set(), str(uuid7())
            reply = await doctor.get(path, headers={"X-Request-ID": request_id})
            seen.append((was_taken, request_id, reply.status_code))

    async def take() -> None:
        await asyncio.sleep(0.05)
        reply = await admin.post("/auth/admin/role", {"user_id": doctor.id, "role": "patient"})
        assert reply.status_code == 200
        taken.set()

    await asyncio.gather(*(look_on() for _ in range(6)), take())
    assert {status for was_taken, _, status in seen if was_taken} == {404}
    assert {status for _, _, status in seen} == {200, 404}
    outcomes = {200: ["allowed"], 404: ["denied"]}
    for _, request_id, status in seen:
        assert [row[1] for row in await scene.records(request_id)] == outcomes[status]
