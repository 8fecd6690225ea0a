"""Idempotency keys on the real routes: one effect and one reply, whoever repeats what, wherever, and whenever.

How keys work is proved in tests/integration/kernel/test_idempotency.py; that every write keeps to it, here.
"""

import asyncio
import json
import secrets
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.clinic import Clinic
from tests.support.fleet import Fleet
from tests.support.openapi import operations
from tests.support.people import Caller, People, User
from tests.support.proxy import proxy_to, through
from tests.support.scenes import PASSWORD, Scene, Scenes

FLEET = ("booking", "booking", "auth")
WRITES = sorted(name for name, operation in operations().items() if operation.is_write)
BOOK = "/booking/slots/book"
# Nobody subscribes to people coming and going; everything else that is done is told.
WITHOUT_EVENT = {"POST /auth/login", "POST /auth/refresh"}
DOMAIN_TABLES = """
    SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('auth', 'booking', 'consultation')
"""


async def send(scene: Scene, operation: str, *, key: str | None = None, caller: Caller | None = None) -> httpx.Response:
    """Send the scene's request."""
    method = operation.split(" ", 1)[0]
    caller = caller or scene.caller
    assert caller is not None
    return await caller.request(method, scene.path, scene.body, key=key)


def lasting(reply: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Give what a replay repeats: everything but its mark and the id of the request that carried it."""
    ignored = {"idempotency-replayed", "x-request-id", "date"}
    headers = {name: value for name, value in reply.headers.items() if name not in ignored}
    return reply.status_code, reply.content, headers


@pytest.mark.parametrize("operation", WRITES)
async def test_every_write_takes_a_key_and_repeats_its_reply(
    scenes: Scenes, owner: asyncpg.Connection, operation: str
) -> None:
    """Declared in the document, done once, told again byte for byte; effect, record, event and reply in one commit."""
    declared = [one["name"] for one in operations()[operation].parameters("header")]
    assert "Idempotency-Key" in declared
    scene = await scenes.of(operation)

    first = await send(scene, operation, key="k1")
    second = await send(scene, operation, key="k1")

    assert first.is_success, first.text
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert lasting(first) == lasting(second)
    await assert_one_transaction(owner, first, has_event=operation not in WITHOUT_EVENT)
    assert (
        await owner.fetchval("SELECT count(*) FROM audit.records WHERE request_id = $1", second.headers["X-Request-ID"])
        == 0
    ), "a replay does nothing"


async def assert_one_transaction(owner: asyncpg.Connection, reply: httpx.Response, *, has_event: bool) -> None:
    """See by the transaction ids that PostgreSQL keeps with each row that all of the write was one commit."""
    request_id = reply.headers["X-Request-ID"]
    records = await owner.fetch(
        "SELECT xmin::text AS writer, trace_id FROM audit.records WHERE request_id = $1", request_id
    )
    writers = {record["writer"] for record in records}
    assert len(writers) == 1, "the act has its audit records, of one transaction"
    (writer,) = writers
    assert await owner.fetchval("SELECT count(*) FROM platform.idempotency_keys WHERE xmin::text = $1", writer) == 1
    events = await owner.fetch(
        "SELECT xmin::text AS writer FROM platform.outbox WHERE traceparent LIKE '%' || $1 || '%'",
        records[0]["trace_id"],
    )
    assert {event["writer"] for event in events} == ({writer} if has_event else set())
    tables = [row[0] for row in await owner.fetch(DOMAIN_TABLES)]
    changed = [
        table for table in tables if await owner.fetchval(f"SELECT count(*) FROM {table} WHERE xmin::text = $1", writer)
    ]
    assert changed, "the effect itself is of the same transaction"


@pytest.mark.parametrize("operation", WRITES)
async def test_a_key_stands_for_one_request_on_every_write(scenes: Scenes, operation: str) -> None:
    """Under the same key with another query, the request is not the same and is refused."""
    scene = await scenes.of(operation)
    assert (await send(scene, operation, key="k2")).is_success
    scene.path += "?again=1"
    reply = await send(scene, operation, key="k2")
    assert (reply.status_code, reply.json()["type"]) == (422, "key-reused")


@pytest.mark.parametrize("operation", WRITES)
async def test_every_write_sent_four_times_at_once_is_done_once(
    scenes: Scenes, owner: asyncpg.Connection, operation: str
) -> None:
    """A client that is impatient with itself: one is done, the others hear the same or are told to wait."""
    scene = await scenes.of(operation)

    replies = await asyncio.gather(*(send(scene, operation, key="k3") for _ in range(4)))

    done = [reply for reply in replies if reply.is_success]
    assert {reply.json()["type"] for reply in replies if not reply.is_success} <= {"key-in-progress"}
    assert sum("Idempotency-Replayed" not in reply.headers for reply in done) == 1
    assert len({reply.content for reply in done}) == 1
    written = await owner.fetchval(
        "SELECT count(DISTINCT request_id) FROM audit.records WHERE request_id = ANY($1) AND outcome = 'allowed'",
        [reply.headers["X-Request-ID"] for reply in replies],
    )
    assert written == 1


async def test_two_patients_under_one_key_have_two_appointments(people: People, clinic: Clinic) -> None:
    """Neither is given the other's reply."""
    slots = await clinic.slots(await clinic.doctor(), 2)
    patients = await people.patients(2)
    replies = [
        await patient.post(BOOK, {"slot_id": slot["id"]}, key="same")
        for patient, slot in zip(patients, slots, strict=True)
    ]
    assert [reply.json()["patient_id"] for reply in replies] == [patient.id for patient in patients]
    loser = await (await people.patient()).post(BOOK, {"slot_id": slots[0]["id"]}, key="same")
    assert (loser.status_code, loser.json()["type"]) == (409, "slot-taken")


async def test_one_key_on_two_routes_is_two_keys(people: People, clinic: Clinic) -> None:
    """Booking and cancelling under the same key are two requests, and both are done."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    booked = await patient.post(BOOK, {"slot_id": slot["id"]}, key="same")
    cancelled = await patient.post(f"/booking/appointments/{booked.json()['id']}/cancel", key="same")
    assert (booked.status_code, cancelled.status_code) == (201, 200)
    assert cancelled.json()["status"] == "cancelled"


async def test_one_key_on_two_things_of_a_route_is_refused(people: People, clinic: Clinic) -> None:
    """The id in the path is part of the request: the second appointment is not silently left standing."""
    patient = await people.patient()
    one, two = [
        (await patient.post(BOOK, {"slot_id": slot["id"]})).json()["id"]
        for slot in await clinic.slots(await clinic.doctor(), 2)
    ]
    assert (await patient.post(f"/booking/appointments/{one}/cancel", key="same")).status_code == 200
    reply = await patient.post(f"/booking/appointments/{two}/cancel", key="same")
    assert (reply.status_code, reply.json()["type"]) == (422, "key-reused")


async def test_another_body_under_the_key_is_refused(people: People, clinic: Clinic) -> None:
    """Another slot, or the same with another reason."""
    patient = await people.patient()
    one, two = await clinic.slots(await clinic.doctor(), 2)
    await patient.post(BOOK, {"slot_id": one["id"]}, key="k")
    for body in ({"slot_id": two["id"]}, {"slot_id": one["id"], "reason": "cough"}):
        reply = await patient.post(BOOK, body, key="k")
        assert (reply.status_code, reply.json()["type"]) == (422, "key-reused")


async def test_the_spelling_of_the_body_does_not_matter(people: People, clinic: Clinic) -> None:
    """Order of names, white space and escapes are the client library's business."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    spellings = [
        json.dumps({"slot_id": slot["id"], "reason": "café"}).encode(),
        json.dumps({"reason": "café", "slot_id": slot["id"]}, ensure_ascii=False, indent=3).encode(),
    ]
    first, second = [await patient.request("POST", BOOK, content=body, key="k") for body in spellings]
    assert first.status_code == 201
    assert lasting(first) == lasting(second)
    assert "Idempotency-Replayed" in second.headers


async def test_a_refusal_is_repeated_though_its_reason_is_gone(people: People, clinic: Clinic) -> None:
    """The slot is free again, but this request was answered: a new wish takes a new key."""
    winner, loser = await people.patients(2)
    (slot,) = await clinic.slots(await clinic.doctor())
    appointment = (await winner.post(BOOK, {"slot_id": slot["id"]})).json()
    refused = await loser.post(BOOK, {"slot_id": slot["id"]}, key="k")
    assert refused.json()["type"] == "slot-taken"
    await winner.post(f"/booking/appointments/{appointment['id']}/cancel")

    assert lasting(await loser.post(BOOK, {"slot_id": slot["id"]}, key="k")) == lasting(refused)
    assert (await loser.post(BOOK, {"slot_id": slot["id"]}, key="k'")).status_code == 201


async def test_a_reply_outlives_what_became_of_its_effect(people: People, clinic: Clinic) -> None:
    """A late retry of a booking that was cancelled since neither books again nor tells anything new."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    booked = await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")
    await patient.post(f"/booking/appointments/{booked.json()['id']}/cancel")
    assert lasting(await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")) == lasting(booked)
    assert (await patient.get("/booking/appointments", status="booked")).json()["items"] == []


async def test_a_contended_slot_does_not_burn_the_key(
    people: People, clinic: Clinic, owner: asyncpg.Connection
) -> None:
    """Whoever was told to try again may, under the same key."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    async with owner.transaction():
        await owner.execute("SELECT FROM booking.slots WHERE id = $1 FOR UPDATE", UUID(slot["id"]))
        reply = await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")
        assert (reply.status_code, reply.json()["type"]) == (409, "slot-contended")
    assert (await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")).status_code == 201


@pytest.mark.parametrize("key", ["';DROP/**/TABLE/**/platform.outbox;--", "%00%0d%0a", "../../etc", "k" * 255])
async def test_a_strange_key_is_a_key(people: People, clinic: Clinic, key: str) -> None:
    """Every printable ASCII text of up to 255 characters works, and means nothing but itself."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    replies = [await patient.post(BOOK, {"slot_id": slot["id"]}, key=key) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert lasting(replies[0]) == lasting(replies[1])


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "tab\tkey", "ключ"])
async def test_no_key_is_better_than_a_mangled_one(people: People, clinic: Clinic, key: str) -> None:
    """Refused before anything is done, and said where."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    headers: Any = {b"Authorization": f"Bearer {patient.token}".encode(), b"Idempotency-Key": key.encode()}
    reply = await patient.client.post(BOOK, json={"slot_id": slot["id"]}, headers=headers)
    assert (reply.status_code, reply.json()["errors"][0]["loc"]) == (422, ["header", "Idempotency-Key"])
    assert (await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")).status_code == 201


async def test_two_keys_on_one_request_are_refused(people: People, clinic: Clinic) -> None:
    """A proxy that reads the first and a service that reads the last would repeat different things."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    headers = [("Authorization", f"Bearer {patient.token}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    reply = await patient.client.post(BOOK, json={"slot_id": slot["id"]}, headers=headers)
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]


async def test_who_has_lost_the_role_gets_no_replay(people: People, clinic: Clinic) -> None:
    """A stored reply is for a caller who may still come in."""
    patient, admin = await people.patient(), await people.admin()
    (slot,) = await clinic.slots(await clinic.doctor())
    body = {"slot_id": slot["id"]}
    booked = await patient.post(BOOK, body, key="k")
    await admin.post("/auth/admin/role", {"user_id": patient.id, "role": "doctor"})
    assert (await patient.post(BOOK, body, key="k")).json()["type"] == "forbidden"
    await admin.post("/auth/admin/role", {"user_id": patient.id, "role": "patient"})
    assert lasting(await patient.post(BOOK, body, key="k")) == lasting(booked), "the refusal was not stored"


@pytest.mark.parametrize("operation", [name for name in WRITES if "{id}" in name or "{appointment_id}" in name])
async def test_a_former_doctor_gets_no_replay_of_a_patients_data(
    operation: str, scenes: Scenes, people: People, owner: asyncpg.Connection
) -> None:
    """A doctor's right comes and goes with the office, for what was told before as well; the try is in the trail."""
    scene, admin = await scenes.of(operation), await people.admin()
    done = await send(scene, operation, key="k", caller=scene.doctor)
    assert done.is_success, done.text
    await admin.post("/auth/admin/role", {"user_id": scene.doctor.id, "role": "patient"})

    refused = await send(scene, operation, key="k", caller=scene.doctor)

    assert (refused.status_code, refused.json()["type"]) == (404, "not-found")
    record = await owner.fetchrow(
        "SELECT outcome, patient_id FROM audit.records WHERE request_id = $1", refused.headers["X-Request-ID"]
    )
    assert record is not None
    assert tuple(record) == ("denied", UUID(scene.patient.id))
    await admin.post("/auth/admin/role", {"user_id": scene.doctor.id, "role": "doctor"})
    again = await send(scene, operation, key="k", caller=scene.doctor)
    assert lasting(again) == lasting(done), "the refusal was not stored"


async def test_who_has_logged_out_gets_no_replay(people: People, clinic: Clinic) -> None:
    """The token of an ended session opens nothing, not even what it once did."""
    patient = await people.patient()
    (slot,) = await clinic.slots(await clinic.doctor())
    await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")
    assert (await patient.post("/auth/logout")).status_code == 204
    assert (await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")).status_code == 401


class TestAnonymousWrites:
    """Registering, logging in and refreshing have no caller yet; their keys still belong to one."""

    async def test_two_people_register_under_one_key(self, people: People) -> None:
        """Each gets the account of their own."""
        bodies = [account() for _ in range(2)]
        replies = [await people.nobody.post("/auth/register", body, key="same") for body in bodies]
        assert [reply.json()["email"] for reply in replies] == [body["email"] for body in bodies]
        again = await people.nobody.post("/auth/register", bodies[0], key="same")
        assert lasting(again) == lasting(replies[0])

    async def test_two_people_log_in_under_one_key(self, people: People) -> None:
        """Each gets a session of their own, also on a retry."""
        bodies = [await self._registered(people) for _ in range(2)]
        for _ in range(2):
            for body in bodies:
                reply = await people.nobody.post("/auth/login", body, key="same")
                me = await Caller(people.nobody.client, reply.json()["access_token"]).get("/auth/me")
                assert me.json()["email"] == body["email"]

    async def test_a_wrong_password_opens_no_stored_reply(self, people: People) -> None:
        """Whoever knows the key and the address is still nobody, and the right password is still welcome."""
        body = await self._registered(people)
        right = await people.nobody.post("/auth/login", body, key="k")
        wrong = await people.nobody.post("/auth/login", body | {"password": "x" * 20}, key="k")
        assert (wrong.status_code, wrong.json()["type"]) == (401, "invalid-credentials")
        assert lasting(await people.nobody.post("/auth/login", body, key="k")) == lasting(right)

    async def test_the_database_holds_no_token(self, people: People, owner: asyncpg.Connection) -> None:
        """Whoever reads the stored replies cannot log in with them."""
        body = await self._registered(people)
        tokens = (await people.nobody.post("/auth/login", body, key="k")).json()
        reply = await people.nobody.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}, key="k")
        told = [tokens["access_token"], tokens["refresh_token"], *map(str, reply.json().values())]
        stored = await owner.fetch(
            "SELECT body FROM platform.idempotency_keys WHERE route IN ('/auth/login', '/auth/refresh')"
        )
        assert stored
        for row in stored:
            assert b"token" not in row["body"]
            assert not any(word.encode() in row["body"] for word in told if len(word) > 20)

    async def test_a_session_that_ended_since_is_not_revived_by_a_replay(self, people: People) -> None:
        """The tokens of a repeated login are those of the session as it is: over."""
        body = await self._registered(people)
        first = (await people.nobody.post("/auth/login", body, key="k")).json()
        user = Caller(people.nobody.client, first["access_token"])
        await user.post("/auth/logout")
        again = (await people.nobody.post("/auth/login", body, key="k")).json()
        assert (await Caller(people.nobody.client, again["access_token"]).get("/auth/me")).status_code == 401

    async def _registered(self, people: People) -> dict[str, str]:
        body = account()
        assert (await people.nobody.post("/auth/register", body)).status_code == 201
        return {name: body[name] for name in ("email", "password")}


def account() -> dict[str, str]:
    """Give the body of a registration that nobody has sent before."""
    return {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD, "full_name": "Asha Rao"}


class TestAcrossProcesses:
    """The key is known to every process at once."""

    async def test_concurrent_duplicates_over_two_processes(self, fleet: Fleet) -> None:
        """Forty at once under one key: one booking; the others are told to wait or hear the same."""
        patient = await fleet.people.patient()
        (slot,) = await fleet.clinic.slots(await fleet.clinic.doctor())

        async def insist() -> httpx.Response:
            while True:
                reply = await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")
                if reply.status_code != 409:
                    return reply
                assert reply.json()["type"] == "key-in-progress"
                assert int(reply.headers["Retry-After"]) >= 1
                await asyncio.sleep(0.05)

        replies = await asyncio.gather(*(insist() for _ in range(40)))
        assert {(reply.status_code, reply.content, reply.headers["Location"]) for reply in replies} == {
            (201, replies[0].content, f"/consultation/{replies[0].json()['id']}")
        }
        assert sum("Idempotency-Replayed" not in reply.headers for reply in replies) == 1
        assert await fleet.faults() == {}

    async def test_a_client_that_went_away_learns_what_was_done(self, fleet: Fleet) -> None:
        """It closed the connection without waiting; under its key it hears of the one booking."""
        patient = await fleet.people.patient()
        (slot,) = await fleet.clinic.slots(await fleet.clinic.doctor())
        one, other = fleet.of("booking")
        await hang_up(one.port, patient, slot["id"])

        async def final() -> httpx.Response:
            while True:
                reply = await fleet.at(patient, other).post(BOOK, {"slot_id": slot["id"]}, key="k")
                if reply.status_code != 409:
                    return reply
                await asyncio.sleep(0.05)

        first = await asyncio.wait_for(final(), 10)
        assert first.status_code == 201
        assert lasting(await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")) == lasting(first)
        assert await fleet.faults() == {}

    async def test_an_unknown_outcome_is_found_out_under_the_key(self, fleet: Fleet) -> None:
        """The connection to PostgreSQL breaks during COMMIT: 503 and not success; the retry finds one booking."""
        address = fleet.settings.services_database
        port = int(address.rsplit(":", 1)[1].split("/")[0])
        patient = await fleet.people.patient()
        (slot,) = await fleet.clinic.slots(await fleet.clinic.doctor())
        async with proxy_to(port) as proxy:
            (process,) = await fleet.platform.serve("booking", DATABASE_URL=through(proxy, address))
            async with httpx.AsyncClient(base_url=process.url, timeout=30) as client:
                proxy.only_with, proxy.cut_after = b"booking.book_slot", b"COMMIT"
                headers = {"Authorization": f"Bearer {patient.token}", "Idempotency-Key": "k"}
                lost = await client.post(BOOK, json={"slot_id": slot["id"]}, headers=headers)
                proxy.cut_after = None
                assert (lost.status_code, lost.json()["type"]) == (503, "outcome-unknown")
                found = await client.post(BOOK, json={"slot_id": slot["id"]}, headers=headers)
            await fleet.platform.stop(process)
        assert found.status_code == 201
        assert lasting(await patient.post(BOOK, {"slot_id": slot["id"]}, key="k")) == lasting(found)
        assert await fleet.faults() == {}


async def hang_up(port: int | None, patient: User, slot_id: str) -> None:
    """Send a whole request and close the connection without reading a byte."""
    body = json.dumps({"slot_id": slot_id}).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {BOOK} HTTP/1.1\r\nHost: telemed.test\r\nAuthorization: Bearer {patient.token}\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
