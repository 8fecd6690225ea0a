"""The straight way of a visit's steps and of prescriptions: the same answers as FastAPI's, and nothing of its own."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from tests.integration.consultation.conftest import MakeVisit, Visit
from tests.support.express import BehindExpress
from tests.support.people import People, User

from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.straight import StraightWrite
from telemed.kernel.resources import Resources

Headers = list[tuple[str, str]]
BEARER = ("Authorization", "Bearer TOKEN")
JSON = ("Content-Type", "application/json")
STATES = {"start": "booked", "no-show": "booked", "complete": "in_progress", "prescription": "in_progress"}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way requests went, in order."""
    gone: list[str] = []
    serve = StraightWrite.serve

    async def noted(way: StraightWrite, scope: Any, exchange: Exchange) -> bool:
        is_served = await serve(way, scope, exchange)
        gone.append("straight" if is_served else "ordinary")
        return is_served

    monkeypatch.setattr(StraightWrite, "serve", noted)
    return gone


@dataclass(frozen=True)
class Sent:
    """A request, as it goes onto the wire; `TOKEN` in it is replaced, and `VISIT`."""

    name: str
    step: str = "start"
    body: bytes | list[bytes] = b""
    headers: Headers = field(default_factory=lambda: [BEARER])
    path: str = "/consultation/VISIT/STEP"

    def with_header(self, name: str, value: str) -> "Sent":
        return replace(self, headers=[*self.headers, (name, value)])

    async def to(self, api: httpx.AsyncClient, visit: Visit, by: User) -> httpx.Response:
        headers = [(name.encode(), value.replace("TOKEN", by.token or "").encode()) for name, value in self.headers]
        pieces = [self.body] if isinstance(self.body, bytes) else self.body

        async def in_pieces() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        content = pieces[0] if len(pieces) == 1 else in_pieces()
        path = self.path.replace("VISIT", visit.id).replace("STEP", self.step)
        return await api.post(path, content=content, headers=headers)


ITEM = {"medicine": "Amoxicillin", "dosage": "1", "frequency": "daily", "duration_days": 7}
PRESCRIBED = json.dumps({"items": [ITEM]}).encode()


def prescribed(name: str, body: bytes | list[bytes] = PRESCRIBED, **changes: Any) -> Sent:
    return replace(Sent(name, "prescription", body, [BEARER, JSON]), **changes)


REGULAR = [
    *(Sent(f"a {step}", step) for step in ("start", "no-show", "complete")),
    Sent("with a key").with_header("Idempotency-Key", "k-1"),
    Sent("with a type and no body").with_header(*JSON),
    Sent("with a body that nobody wants", body=b"\xff{"),
    Sent("with such a body in pieces", body=[b"a", b"b"]),
    Sent("with a query", path="/consultation/VISIT/STEP?a=1&a=2"),
    prescribed("a prescription"),
    prescribed("a prescription in pieces", [PRESCRIBED[:9], PRESCRIBED[9:]]),
    prescribed("a prescription with a key").with_header("Idempotency-Key", "k-2"),
]
IRREGULAR = [
    Sent("without a token", headers=[]),
    Sent("with two tokens").with_header(*BEARER),
    Sent("with a small bearer", headers=[("Authorization", "bearer TOKEN")]),
    Sent("with two keys").with_header("Idempotency-Key", "a").with_header("Idempotency-Key", "b"),
    Sent("with an empty key").with_header("Idempotency-Key", ""),
    Sent("with a key of two words").with_header("Idempotency-Key", "a b"),
    Sent("with no id", path="/consultation/mine/STEP"),
    Sent("with no id and no token", path="/consultation/mine/STEP", headers=[]),
    Sent("with half an id", path="/consultation/0198f3c2/STEP"),
    prescribed("without a type", headers=[BEARER]),
    prescribed("with a type of text", headers=[BEARER, ("Content-Type", "text/plain")]),
    prescribed("without a body", b""),
    prescribed("with half a body", PRESCRIBED[:-1]),
    prescribed("with a name twice", b'{"items": [], "items": []}'),
    prescribed("without items", b"{}"),
    prescribed("with null", b"null"),
    prescribed("with an unknown field", PRESCRIBED[:-1] + b', "urgent": true}'),
    prescribed("with no id and a body", path="/consultation/mine/STEP"),
]


def told(reply: httpx.Response) -> tuple[Any, ...]:
    """What a client is told, without what is every request's or every visit's own."""
    own = {"x-request-id", "location", "content-length"}
    headers = sorted((name, value) for name, value in reply.headers.items() if name not in own)
    content = reply.json()
    for name in ("trace_id", "id", "consultation_id", "doctor_id", "patient_id", "instance"):
        content.pop(name, None)
    return reply.status_code, headers, content


async def both(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, sent: Sent
) -> tuple[httpx.Response, httpx.Response]:
    """Send it on the straight way and on the ordinary one, each time for another visit."""
    offered = app.edge.straight
    replies = []
    for ways in (offered, {}):
        app.edge.straight = ways
        visit = await make_visit(status=STATES[sent.step])
        replies.append(await sent.to(api, visit, visit.doctor))
    app.edge.straight = offered
    return replies[0], replies[1]


@pytest.mark.parametrize("sent", REGULAR, ids=lambda sent: sent.name)
async def test_a_regular_write_goes_straight_and_is_told_the_same(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, ways: list[str], sent: Sent
) -> None:
    """Status, headers and body."""
    straight, ordinary = await both(app, api, make_visit, sent)
    assert told(straight) == told(ordinary)
    assert straight.is_success
    assert ways == ["straight"]


@pytest.mark.parametrize("sent", IRREGULAR, ids=lambda sent: sent.name)
async def test_an_irregular_write_is_left_to_the_ordinary_way(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, ways: list[str], sent: Sent
) -> None:
    """With all of its body."""
    straight, ordinary = await both(app, api, make_visit, sent)
    assert told(straight) == told(ordinary)
    assert ways == ["ordinary"]


async def test_refusals_are_the_same_and_leave_the_same_records(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, people: People, ways: list[str]
) -> None:
    """Not theirs, not their part, not now: problems, headers, and the denial in the trail."""
    offered = app.edge.straight
    for sent in (Sent("a step"), Sent("under a key").with_header("Idempotency-Key", "k"), prescribed("a prescription")):
        told_each = []
        for way in (offered, {}):
            app.edge.straight = way
            visit = await make_visit(status="completed" if sent.step == "start" else "booked")
            replies = [await sent.to(api, visit, who) for who in (await people.doctor(), visit.patient, visit.doctor)]
            again = await sent.to(api, visit, visit.doctor)
            action = "prescription.issue" if sent.step == "prescription" else "consultation.start"
            trail = [(record["outcome"], record["actor_role"]) for record in await visit.trail(action)]
            told_each.append([*(told(reply) for reply in (*replies, again)), trail, await visit.events()])
        assert told_each[0] == told_each[1]
        assert [reply[0] for reply in told_each[0][:4]] == [404, 403, 409, 409]
        assert told_each[0][4:] == [[("denied", "doctor"), ("denied", "patient")], []]
    assert ways == ["straight"] * 12


@pytest.mark.parametrize("sent", [REGULAR[3], REGULAR[-1]], ids=lambda sent: sent.name)
async def test_replays_are_the_same_whichever_way_came_first(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, ways: list[str], sent: Sent
) -> None:
    """The fingerprint of a request does not depend on its way; with other content it is another request."""
    offered = app.edge.straight
    for first, second in ((offered, {}), ({}, offered)):
        visit = await make_visit(status=STATES[sent.step])
        app.edge.straight = first
        done = await sent.to(api, visit, visit.doctor)
        app.edge.straight = second
        again = await sent.to(api, visit, visit.doctor)
        assert (again.status_code, again.content) == (done.status_code, done.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        other = replace(sent, body=PRESCRIBED.replace(b"7", b"8"))
        assert (await other.to(api, visit, visit.doctor)).json()["type"] == "key-reused"
    assert ways == ["straight", "straight", "straight"]


@pytest.mark.parametrize("sent", [REGULAR[0], REGULAR[-3]], ids=lambda sent: sent.name)
async def test_a_body_that_is_too_large_is_refused_alike(
    app: BehindExpress, api: httpx.AsyncClient, make_visit: MakeVisit, resources: Resources, sent: Sent
) -> None:
    """Announced or not, wanted or not."""
    much = b" " * resources.settings.max_body_bytes
    for body in (much + b"{}", [much, b"{}"]):
        straight, ordinary = await both(app, api, make_visit, replace(sent, body=body))
        assert told(straight) == told(ordinary)
        assert straight.status_code == 413


async def test_nothing_is_done_for_a_client_that_left_before_it_had_said_all(
    app: BehindExpress, make_visit: MakeVisit, ways: list[str]
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

    async def send(_message: Any) -> None:
        """Go nowhere."""

    await app(scope, receive, send)
    assert (await visit.row())["status"] == "booked"
    assert ways == ["ordinary"]
