"""Booking's straight writes but the booking itself: the same answers, records and events as on FastAPI's way."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.support.databases import TestDatabase
from tests.support.openapi import operations
from tests.support.people import Caller, User
from tests.support.scenes import Scene, Scenes
from tests.support.stalls import slot_locked
from tests.support.ways import BEARER, JSON, Sent, Ways, renamed, told

from telemed.booking.service import SERVICE
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.text import rfc3339

CANCEL = "POST /booking/appointments/{appointment_id}/cancel"
MOVE = "POST /booking/appointments/{appointment_id}/reschedule"
PUBLISH = "POST /booking/slots"
WITHDRAW = "DELETE /booking/slots/{slot_id}"
WRITE_CARD = "PUT /booking/doctors/me"
# Whatever goes straight is compared here; the booking in test_straight_way.py.
WRITES = [name for name in SERVICE.straight if not name.startswith("GET ") and name != "POST /booking/slots/book"]
WITH_BODY = [name for name in WRITES if operations()[name].body_schema is not None]
WITHOUT_BODY = [name for name in WRITES if name not in WITH_BODY]
WITH_PATH = [name for name in WRITES if "{" in name]
OF_DOCTORS = [name for name in WRITES if "/appointments/" not in name]
OF_PATIENTS = [CANCEL, MOVE]

Change = Callable[[Sent], Sent]
Arrange = Callable[[Scenes, Scene], Awaitable[None]]


def but(**changes: Any) -> Change:
    return lambda sent: sent.but(**changes)


def adding(header: str, *values: str) -> Change:
    return lambda sent: sent.adding(header, *values)


def with_header(name: str, value: str) -> Change:
    """Give the header another value."""
    return lambda sent: sent.but(headers=tuple((one, value if one == name else had) for one, had in sent.headers))


def without_header(name: str) -> Change:
    return lambda sent: sent.but(headers=tuple(one for one in sent.headers if one[0] != name))


def with_id(written: str) -> Change:
    """Have this in the path where the thing's id is."""
    return lambda sent: sent.but(path="/".join(written if _is_id(part) else part for part in sent.path.split("/")))


def with_body(change: Callable[[bytes], bytes | list[bytes]]) -> Change:
    return lambda sent: sent.but(body=change(sent.body if isinstance(sent.body, bytes) else b""))


def _is_id(part: str) -> bool:
    return renamed(part) == "<1>"


def each(*cases: tuple[list[str], dict[str, Change]]) -> pytest.MarkDecorator:
    """Parametrize a test with every change of every operation that it is for."""
    made = [
        (name, change, f"{name} {how}") for names, changes in cases for name in names for how, change in changes.items()
    ]
    return pytest.mark.parametrize(("operation", "change"), [one[:2] for one in made], ids=[one[2] for one in made])


PLAIN = but()
REGULAR = {
    "plain": PLAIN,
    "with a key": adding("Idempotency-Key", "k-1"),
    "with a query": lambda sent: sent.but(path=f"{sent.path}?a=1&a=2"),
    "in pieces": with_body(lambda body: [body[:9], body[9:]]),
}
REGULAR_WITHOUT_BODY = {
    "with a type and no body": adding(*JSON),
    "with a body that nobody wants": but(body=b"\xff{"),
    "with such a body in pieces": but(body=[b"a", b"b"]),
}
REGULAR_WITH_BODY = {"with a charset": with_header("Content-Type", "application/json; charset=utf-8")}
IRREGULAR = {
    "without a token": without_header("Authorization"),
    "with two tokens": adding(*BEARER),
    "with a small bearer": with_header("Authorization", "bearer TOKEN"),
    "with a password": with_header("Authorization", "Basic TOKEN"),
    "with an empty token": with_header("Authorization", "Bearer "),
    "with two keys": adding("Idempotency-Key", "a", "b"),
    "with an empty key": adding("Idempotency-Key", ""),
    "with a long key": adding("Idempotency-Key", "k" * 256),
    "with a key of two words": adding("Idempotency-Key", "a b"),
}
IRREGULAR_PATHS = {
    "with no id": with_id("mine"),
    "with half an id": with_id("0198f3c2"),
    "with no id and no token": lambda sent: without_header("Authorization")(with_id("mine")(sent)),
}
IRREGULAR_BODIES = {
    "without a type": without_header("Content-Type"),
    "with a type of text": with_header("Content-Type", "text/plain"),
    "with two types": adding("Content-Type", "text/plain"),
    "without a body": but(body=b""),
    "with half a body": with_body(lambda body: body[:-1]),
    "with every name twice": with_body(lambda body: body[:-1] + b", " + body[1:]),
    "with an array": with_body(lambda body: b"[" + body + b"]"),
    "with null": but(body=b"null"),
    "with nothing in it": but(body=b"{}"),
    "with an unknown field": with_body(lambda body: body[:-1] + b', "urgent": true}'),
}


class Desk:
    """Sends the requests of scenes, and reads what they leave behind."""

    def __init__(self, api: httpx.AsyncClient, scenes: Scenes, owner: asyncpg.Connection) -> None:
        self._api = api
        self._owner = owner
        self.scenes = scenes

    async def send(self, scene: Scene, operation: str, change: Change = PLAIN) -> httpx.Response:
        """Send the scene's request, changed."""
        method = operation.partition(" ")[0]
        sent = Sent(scene.path, method=method)
        if scene.body is not None:
            sent = sent.but(body=json.dumps(scene.body).encode(), headers=(BEARER, JSON))
        return await change(sent).to(self._api, TOKEN=(scene.caller and scene.caller.token) or "")

    async def left_by(self, reply: httpx.Response) -> tuple[str, str]:
        """Give the records and events of the request that was answered so, but for ids and names."""
        records = await self._owner.fetch(
            """
            SELECT action, outcome, actor_id, actor_role, entity_type, entity_id, patient_id, details, trace_id
            FROM audit.records WHERE request_id = $1 ORDER BY action, entity_id
            """,
            reply.headers["X-Request-ID"],
        )
        events = await self._owner.fetch(
            "SELECT type, payload FROM platform.outbox WHERE split_part(traceparent, '-', 2) = $1 ORDER BY type",
            records[0]["trace_id"] if records else None,
        )
        return renamed(str([tuple(row) for row in records])), renamed(str([tuple(row) for row in events]))

    async def found(self, scene: Scene) -> str:
        """Search for what the scene's doctor has open."""
        reply = await self.scenes.people.nobody.get("/booking/slots/search", doctor_id=scene.doctor.id)
        assert reply.status_code == 200
        return renamed(reply.text)


@pytest.fixture
def desk(api: httpx.AsyncClient, scenes: Scenes, owner: asyncpg.Connection) -> Desk:
    """Where the requests are sent from."""
    return Desk(api, scenes, owner)


def test_there_are_writes_to_compare() -> None:
    """Who goes straight no more is compared with nothing."""
    assert set(WRITES) >= {CANCEL, MOVE, PUBLISH, WITHDRAW, WRITE_CARD}


@each((WRITES, REGULAR), (WITHOUT_BODY, REGULAR_WITHOUT_BODY), (WITH_BODY, REGULAR_WITH_BODY))
async def test_a_regular_write_goes_straight_and_does_the_same(
    desk: Desk, ways: Ways, operation: str, change: Change
) -> None:
    """Status, headers and body; records and events; and what search finds afterwards, where it knew another answer."""
    seen = []
    for way in ways.both:
        scene = await desk.scenes.of(operation)
        before = await desk.found(scene)
        reply = await way(desk.send(scene, operation, change))
        assert reply.is_success, reply.text
        seen.append((told(reply), await desk.left_by(reply), before, await desk.found(scene)))
    assert seen[0] == seen[1]
    assert all(seen[0][1])
    assert ways.taken == ["straight"]


@each((WRITES, IRREGULAR), (WITH_PATH, IRREGULAR_PATHS), (WITH_BODY, IRREGULAR_BODIES))
async def test_an_irregular_write_is_left_to_the_ordinary_way(
    desk: Desk, ways: Ways, operation: str, change: Change
) -> None:
    """With all of its body."""
    replies = [await way(desk.send(await desk.scenes.of(operation), operation, change)) for way in ways.both]
    assert told(replies[0]) == told(replies[1])
    assert ways.taken == ["ordinary"]


@pytest.mark.parametrize("operation", WRITES)
async def test_replays_are_the_same_whichever_way_came_first(desk: Desk, ways: Ways, operation: str) -> None:
    """The fingerprint of a request does not depend on its way; with other content it is another request."""
    with_key = adding("Idempotency-Key", "k")
    for first, second in (ways.both, ways.both[::-1]):
        scene = await desk.scenes.of(operation)
        done = await first(desk.send(scene, operation, with_key))
        again = await second(desk.send(scene, operation, with_key))
        assert done.is_success
        assert (again.status_code, again.content) == (done.status_code, done.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        scene.path += "?again=1"
        other = [await way(desk.send(scene, operation, with_key)) for way in ways.both]
        assert told(other[0]) == told(other[1])
        assert other[0].json()["type"] == "key-reused"
    assert ways.taken == ["straight"] * 4


@pytest.mark.parametrize("operation", WRITES)
async def test_a_body_that_is_too_large_is_refused_alike(
    desk: Desk, ways: Ways, resources: Resources, operation: str
) -> None:
    """Announced or not, wanted or not."""
    scene = await desk.scenes.of(operation)
    much = b" " * resources.settings.max_body_bytes
    for body in (much + b"{}", [much, b"{}"]):
        replies = [await way(desk.send(scene, operation, but(body=body))) for way in ways.both]
        assert told(replies[0]) == told(replies[1])
        assert replies[0].status_code == 413


@pytest.mark.parametrize("operation", [CANCEL, MOVE, WITHDRAW])
async def test_a_slot_that_cannot_be_had_is_no_answer_for_good(
    desk: Desk, ways: Ways, database: TestDatabase, resources: Resources, operation: str
) -> None:
    """409 after the bound, and the wait is in the histogram, though in vain; the key stays free."""
    scene = await desk.scenes.of(operation)
    slot_id = scene.slot["id"] if scene.appointment is None else scene.appointment["slot_id"]
    under_key = adding("Idempotency-Key", "k")
    async with slot_locked(database.owner, slot_id):
        reply = await ways.straight(desk.send(scene, operation, under_key))
    assert (reply.status_code, reply.json()["type"]) == (409, "slot-contended")
    assert resources.metrics.booking_lock_wait._sum.get() >= 2.0
    assert (await ways.straight(desk.send(scene, operation, under_key))).is_success


REFUSALS: list[Any] = []


def _refused(how: str, problem: str, *names: str) -> Callable[[Arrange], Arrange]:
    def keep(arrange: Arrange) -> Arrange:
        REFUSALS.extend(pytest.param(name, problem, arrange, id=f"{name} {how}") for name in names)
        return arrange

    return keep


@_refused("by nobody", "not-authenticated", *WRITES)
async def _forged(_scenes: Scenes, scene: Scene) -> None:
    scene.caller = Caller(_caller(scene).client, "a.b.c")


@_refused("by an old token", "not-authenticated", *WRITES)
async def _old(scenes: Scenes, scene: Scene) -> None:
    old = scenes.people.token(_caller(scene), now=scenes.clock.now() - timedelta(days=1))
    scene.caller = Caller(_caller(scene).client, old)


@_refused("by one who has left", "not-authenticated", *WRITES)
async def _left(scenes: Scenes, scene: Scene) -> None:
    scene.caller = await scenes.people.left(_caller(scene))


@_refused("by a patient", "forbidden", *OF_DOCTORS)
async def _patients(_scenes: Scenes, scene: Scene) -> None:
    scene.caller = scene.patient


@_refused("by an administrator", "forbidden", *OF_DOCTORS)
async def _administrators(scenes: Scenes, scene: Scene) -> None:
    scene.caller = await scenes.people.admin()


@_refused("by a doctor no more", "forbidden", *OF_DOCTORS)
async def _no_doctors(scenes: Scenes, scene: Scene) -> None:
    await scenes.owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(_caller(scene).id))


@_refused("of somebody else's", "not-found", *WITH_PATH)
async def _somebody_elses(scenes: Scenes, scene: Scene) -> None:
    scene.caller = await scenes.people.doctor()


@_refused("of nothing", "not-found", *WITH_PATH)
async def _nothing(_scenes: Scenes, scene: Scene) -> None:
    scene.path = with_id(str(uuid7()))(Sent(scene.path)).path


@_refused("after it was cancelled", "step-not-allowed", *OF_PATIENTS)
async def _cancelled(_scenes: Scenes, scene: Scene) -> None:
    assert (await scene.patient.post(f"/booking/appointments/{scene.appointment_id}/cancel")).is_success


@_refused("after it has begun", "appointment-begun", *OF_PATIENTS)
async def _begun(scenes: Scenes, scene: Scene) -> None:
    await scenes.begin(scene)


@_refused("to no slot", "not-found", MOVE)
async def _no_slot(_scenes: Scenes, scene: Scene) -> None:
    scene.body = {"slot_id": str(uuid7())}


@_refused("to another doctor's slot", "different-doctor", MOVE)
async def _different_doctors(scenes: Scenes, scene: Scene) -> None:
    scene.body = {"slot_id": (await scenes.open_slot()).slot["id"]}


@_refused("to a slot that is taken", "slot-taken", MOVE)
async def _taken(scenes: Scenes, scene: Scene) -> None:
    other = await scenes.people.patient()
    assert (await other.post("/booking/slots/book", {"slot_id": scene.slot["id"]})).is_success


@_refused("to a slot that has begun", "slot-started", MOVE)
async def _started(scenes: Scenes, scene: Scene) -> None:
    now = scenes.clock.now()
    move = "UPDATE booking.slots SET starts_at = $2, ends_at = $3 WHERE id = $1"
    await scenes.owner.execute(move, UUID(scene.slot["id"]), now - timedelta(minutes=30), now)


@_refused("to a time that is not free", "patient-busy", MOVE)
async def _busy(scenes: Scenes, scene: Scene) -> None:
    other = await scenes.clinic.doctor()
    (slot,) = await scenes.clinic.slots(other, starts_at=scenes.clock.now() + timedelta(minutes=40))
    assert (await scene.patient.post("/booking/slots/book", {"slot_id": slot["id"]})).is_success


@_refused("after it was booked", "slot-booked", WITHDRAW)
async def _booked(_scenes: Scenes, scene: Scene) -> None:
    assert (await scene.patient.post("/booking/slots/book", {"slot_id": scene.slot["id"]})).is_success


@_refused("after it was withdrawn", "not-found", WITHDRAW)
async def _withdrawn(_scenes: Scenes, scene: Scene) -> None:
    assert (await scene.doctor.delete(scene.path)).is_success


@_refused("beside another", "slot-overlap", PUBLISH)
async def _overlapping(_scenes: Scenes, scene: Scene) -> None:
    scene.body = {"slots": [{name: scene.slot[name] for name in ("starts_at", "ends_at")}]}


@_refused("of yesterday", "invalid-request", PUBLISH)
async def _yesterdays(scenes: Scenes, scene: Scene) -> None:
    start = scenes.clock.now() - timedelta(days=1)
    scene.body = {"slots": [{"starts_at": rfc3339(start), "ends_at": rfc3339(start + timedelta(minutes=30))}]}


@_refused("without an entry", "profile-missing", PUBLISH)
async def _without_an_entry(scenes: Scenes, scene: Scene) -> None:
    scene.caller = await scenes.people.doctor()


def _caller(scene: Scene) -> User:
    assert isinstance(scene.caller, User)
    return scene.caller


@pytest.mark.parametrize(("operation", "problem", "arrange"), REFUSALS)
async def test_refusals_are_the_same_and_leave_the_same_records(
    desk: Desk, ways: Ways, operation: str, problem: str, arrange: Arrange
) -> None:
    """As they come, under a key, and again under it on the other way."""
    scene = await desk.scenes.of(operation)
    await arrange(desk.scenes, scene)
    seen = []
    for place, way in enumerate(ways.both):
        with_key, other_way = adding("Idempotency-Key", f"k-{place}"), ways.both[1 - place]
        replies = [
            await way(desk.send(scene, operation)),
            await way(desk.send(scene, operation, with_key)),
            await other_way(desk.send(scene, operation, with_key)),
        ]
        seen.append([(told(reply), await desk.left_by(reply)) for reply in replies])
        assert [reply.json()["type"] for reply in replies] == [problem] * 3
    assert seen[0] == seen[1]
    assert ways.taken == ["straight"] * 3
