"""The straight way of a visit's steps and of prescriptions: the same answers as FastAPI's, and nothing of its own."""

import json
from typing import Any

import httpx
import pytest
from tests.integration.consultation.conftest import MakeVisit, Visit
from tests.support.express import BehindExpress
from tests.support.people import People, User
from tests.support.ways import BEARER, JSON, Sent, Ways, told

from telemed.kernel.resources import Resources

STEP = Sent("/consultation/VISIT/start")
STATES = {"start": "booked", "no-show": "booked", "complete": "in_progress", "prescription": "in_progress"}
ITEM = {"medicine": "Amoxicillin", "dosage": "1", "frequency": "daily", "duration_days": 7}
PRESCRIBED = json.dumps({"items": [ITEM]}).encode()


PRESCRIPTION = Sent("/consultation/VISIT/prescription", PRESCRIBED, (BEARER, JSON))
REGULAR = {
    "a start": STEP,
    "a no-show": STEP.but(path="/consultation/VISIT/no-show"),
    "a complete": STEP.but(path="/consultation/VISIT/complete"),
    "with a key": STEP.adding("Idempotency-Key", "k-1"),
    "with a type and no body": STEP.adding(*JSON),
    "with a body that nobody wants": STEP.but(body=b"\xff{"),
    "with such a body in pieces": STEP.but(body=[b"a", b"b"]),
    "with a query": STEP.but(path="/consultation/VISIT/start?a=1&a=2"),
    "a prescription": PRESCRIPTION,
    "a prescription in pieces": PRESCRIPTION.but(body=[PRESCRIBED[:9], PRESCRIBED[9:]]),
    "a prescription with a key": PRESCRIPTION.adding("Idempotency-Key", "k-2"),
}
IRREGULAR = {
    "without a token": STEP.but(headers=()),
    "with two tokens": STEP.adding(*BEARER),
    "with a small bearer": STEP.but(headers=(("Authorization", "bearer TOKEN"),)),
    "with two keys": STEP.adding("Idempotency-Key", "a", "b"),
    "with an empty key": STEP.adding("Idempotency-Key", ""),
    "with a key of two words": STEP.adding("Idempotency-Key", "a b"),
    "with no id": STEP.but(path="/consultation/mine/start"),
    "with no id and no token": STEP.but(path="/consultation/mine/start", headers=()),
    "with half an id": STEP.but(path="/consultation/0198f3c2/start"),
    "without a type": PRESCRIPTION.but(headers=(BEARER,)),
    "with a type of text": PRESCRIPTION.but(headers=(BEARER, ("Content-Type", "text/plain"))),
    "without a body": PRESCRIPTION.but(body=b""),
    "with half a body": PRESCRIPTION.but(body=PRESCRIBED[:-1]),
    "with a name twice": PRESCRIPTION.but(body=b'{"items": [], "items": []}'),
    "without items": PRESCRIPTION.but(body=b"{}"),
    "with null": PRESCRIPTION.but(body=b"null"),
    "with an unknown field": PRESCRIPTION.but(body=PRESCRIBED[:-1] + b', "urgent": true}'),
    "with no id and a body": PRESCRIPTION.but(path="/consultation/mine/prescription"),
}


async def send(api: httpx.AsyncClient, sent: Sent, visit: Visit, by: User | None = None) -> httpx.Response:
    return await sent.to(api, TOKEN=(by or visit.doctor).token or "", VISIT=visit.id)


async def ready_for(sent: Sent, make_visit: MakeVisit) -> Visit:
    step = sent.path.partition("?")[0].rpartition("/")[2]
    return await make_visit(status=STATES[step])


async def both(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, sent: Sent
) -> tuple[httpx.Response, httpx.Response]:
    """Send it on the straight way and on the ordinary one, each time for another visit."""
    first, second = [await ready_for(sent, make_visit) for _ in range(2)]
    return await ways.straight(send(api, sent, first)), await send(api, sent, second)


@pytest.mark.parametrize("sent", REGULAR.values(), ids=REGULAR)
async def test_a_regular_write_goes_straight_and_is_told_the_same(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, sent: Sent
) -> None:
    """Status, headers and body."""
    straight, ordinary = await both(ways, api, make_visit, sent)
    assert told(straight) == told(ordinary)
    assert straight.is_success
    assert ways.taken == ["straight"]


@pytest.mark.parametrize("sent", IRREGULAR.values(), ids=IRREGULAR)
async def test_an_irregular_write_is_left_to_the_ordinary_way(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, sent: Sent
) -> None:
    """With all of its body."""
    straight, ordinary = await both(ways, api, make_visit, sent)
    assert told(straight) == told(ordinary)
    assert ways.taken == ["ordinary"]


@pytest.mark.parametrize(
    ("sent", "status", "action"),
    [
        (STEP, "completed", "consultation.start"),
        (STEP.adding("Idempotency-Key", "k"), "completed", "consultation.start"),
        (PRESCRIPTION, "booked", "prescription.issue"),
    ],
    ids=["a step", "under a key", "a prescription"],
)
async def test_refusals_are_the_same_and_leave_the_same_records(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, people: People, sent: Sent, status: str, action: str
) -> None:
    """Not theirs, not their part, not now: problems, headers, and the denial in the trail."""
    seen = []
    for way in ways.both:
        visit = await make_visit(status=status)
        callers = (await people.doctor(), visit.patient, visit.doctor, visit.doctor)
        replies = [await way(send(api, sent, visit, who)) for who in callers]
        trail = [(record["outcome"], record["actor_role"]) for record in await visit.trail(action)]
        seen.append(([told(reply) for reply in replies], trail, await visit.events()))
    assert seen[0] == seen[1]
    replies_told, trail, events = seen[0]
    assert [reply[0] for reply in replies_told] == [404, 403, 409, 409]
    assert (trail, events) == ([("denied", "doctor"), ("denied", "patient")], [])
    assert ways.taken == ["straight"] * 4


@pytest.mark.parametrize("name", ["with a key", "a prescription with a key"])
async def test_replays_are_the_same_whichever_way_came_first(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, name: str
) -> None:
    """The fingerprint of a request does not depend on its way; with other content it is another request."""
    sent = REGULAR[name]
    for first, second in (ways.both, ways.both[::-1]):
        visit = await ready_for(sent, make_visit)
        done = await first(send(api, sent, visit))
        again = await second(send(api, sent, visit))
        assert (again.status_code, again.content) == (done.status_code, done.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await second(send(api, sent.but(body=PRESCRIBED.replace(b"7", b"8")), visit))
        assert other.json()["type"] == "key-reused"
    assert ways.taken == ["straight", "straight", "straight"]


@pytest.mark.parametrize("sent", [STEP, PRESCRIPTION], ids=["a step", "a prescription"])
async def test_a_body_that_is_too_large_is_refused_alike(
    ways: Ways, api: httpx.AsyncClient, make_visit: MakeVisit, resources: Resources, sent: Sent
) -> None:
    """Announced or not, wanted or not."""
    much = b" " * resources.settings.max_body_bytes
    for body in (much + b"{}", [much, b"{}"]):
        straight, ordinary = await both(ways, api, make_visit, sent.but(body=body))
        assert told(straight) == told(ordinary)
        assert straight.status_code == 413


async def test_nothing_is_done_for_a_client_that_left_before_it_had_said_all(
    ways: Ways, app: BehindExpress, make_visit: MakeVisit
) -> None:
    """Half of a body that nobody wants is half a request, too."""
    visit = await make_visit()
    path = f"{visit.path}/start"
    headers = [(b"host", b"telemed.test"), (b"authorization", f"Bearer {visit.doctor.token}".encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, (b"content-length", b"9")],
        "client": ("127.0.0.1", 1),
        "server": ("telemed.test", 80),
    }
    messages = [{"type": "http.request", "body": b"half", "more_body": True}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send_nowhere(_message: Any) -> None:
        """Go nowhere."""

    await ways.straight(app(scope, receive, send_nowhere))
    assert (await visit.row())["status"] == "booked"
    assert ways.taken == ["ordinary"]
