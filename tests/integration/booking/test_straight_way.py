"""The straight way of hot writes: the same answers as FastAPI's, and nothing of its own to say."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fastapi import APIRouter, Response
from tests.support.clinic import Clinic
from tests.support.express import BehindExpress
from tests.support.people import People, User

from telemed.booking.appointments.schemas import BookSlot
from telemed.booking.service import SERVICE
from telemed.contracts.access import PatientWrites, UserReads
from telemed.kernel.http.app import build_api
from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.straight import StraightRead, StraightWrite, straight_ways
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.resources import Resources

BOOK = "/booking/slots/book"
SEARCH = "/booking/slots/search"
JSON = ("Content-Type", "application/json")


@dataclass
class Served:
    """How often a booking or a search went which way."""

    straight: int = 0
    ordinary: int = 0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """Counts."""
    counts = Served()

    def counted(serve: Any) -> Any:
        async def count(way: Any, scope: Any, exchange: Exchange) -> bool:
            is_served: bool = await serve(way, scope, exchange)
            if scope["path"] in {BOOK, SEARCH}:
                counts.straight += is_served
                counts.ordinary += not is_served
            return is_served

        return count

    for kind in (StraightWrite, StraightRead):
        monkeypatch.setattr(kind, "serve", counted(kind.serve))
    return counts


@dataclass(frozen=True)
class Sent:
    """A request, as it goes onto the wire; `TOKEN` and `SLOT` in it are replaced."""

    name: str
    body: bytes | list[bytes] = b'{"slot_id": "SLOT", "reason": "Itching"}'
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Authorization", "Bearer TOKEN"), JSON])

    def with_header(self, name: str, value: str) -> "Sent":
        return replace(self, headers=[*self.headers, (name, value)])

    async def to(self, api: httpx.AsyncClient, token: str | None, slot_id: str) -> httpx.Response:
        headers = [(name, value.replace("TOKEN", token or "").encode("latin-1")) for name, value in self.headers]
        pieces = [self.body] if isinstance(self.body, bytes) else self.body
        filled = [piece.replace(b"SLOT", slot_id.encode()) for piece in pieces]

        async def in_pieces() -> AsyncIterator[bytes]:
            for piece in filled:
                yield piece

        content = filled[0] if len(filled) == 1 else in_pieces()
        return await api.post(BOOK, content=content, headers=[(name.encode(), value) for name, value in headers])


REGULAR = [
    Sent("plain"),
    Sent("with a key").with_header("Idempotency-Key", "k-1"),
    Sent("with a charset", headers=[("Authorization", "Bearer TOKEN"), ("Content-Type", JSON[1] + "; charset=utf-8")]),
    Sent("without a reason", b'{"slot_id": "SLOT"}'),
    Sent("in pieces", [b'{"slot_id": ', b'"SLOT"', b"}"]),
]
IRREGULAR = [
    Sent("without a token", headers=[JSON]),
    Sent("with two tokens").with_header("Authorization", "Bearer TOKEN"),
    Sent("with a small bearer", headers=[("Authorization", "bearer TOKEN"), JSON]),
    Sent("with a wide gap", headers=[("Authorization", "Bearer  TOKEN"), JSON]),
    Sent("with a password", headers=[("Authorization", "Basic TOKEN"), JSON]),
    Sent("with an empty token", headers=[("Authorization", "Bearer "), JSON]),
    Sent("with a token of two words", headers=[("Authorization", "Bearer TOKEN TOKEN"), JSON]),
    Sent("with an umlaut in the token", headers=[("Authorization", "Bearer \xe4"), JSON]),
    Sent("with two keys").with_header("Idempotency-Key", "a").with_header("Idempotency-Key", "b"),
    Sent("with an empty key").with_header("Idempotency-Key", ""),
    Sent("with a long key").with_header("Idempotency-Key", "k" * 256),
    Sent("with a key of two words").with_header("Idempotency-Key", "a b"),
    Sent("with an umlaut in the key").with_header("Idempotency-Key", "\xe4"),
    Sent("without a type", headers=[("Authorization", "Bearer TOKEN")]),
    Sent("with a type of text", headers=[("Authorization", "Bearer TOKEN"), ("Content-Type", "text/plain")]),
    Sent("with a type like it", headers=[("Authorization", "Bearer TOKEN"), ("Content-Type", "application/x+json")]),
    Sent("with two types").with_header("Content-Type", "text/plain"),
    Sent("without a body", b""),
    Sent("with half a body", b'{"slot_id": "SLOT"'),
    Sent("with a name twice", b'{"slot_id": "SLOT", "slot_id": "SLOT"}'),
    Sent("with no number", b'{"slot_id": "SLOT", "reason": NaN}'),
    Sent("with an array", b'["SLOT"]'),
    Sent("with null", b"null"),
    Sent("with an unknown field", b'{"slot_id": "SLOT", "urgent": true}'),
    Sent("without the slot", b'{"reason": "Itching"}'),
    Sent("with no id", b'{"slot_id": "the first one"}'),
    Sent("with half a character", b'{"slot_id": "SLOT", "reason": "\\ud800"}'),
    Sent("with a zero byte", b'{"slot_id": "SLOT", "reason": "\\u0000"}'),
    Sent("with a long reason", b'{"slot_id": "SLOT", "reason": "' + b"x" * 1001 + b'"}'),
    Sent("in latin-1", '{"slot_id": "SLOT", "reason": "\xe4"}'.encode("latin-1")),
]


async def patient_and_slot(people: People, clinic: Clinic) -> tuple[User, str]:
    (slot,) = await clinic.slots(await clinic.doctor())
    return await people.patient(), slot["id"]


def told(reply: httpx.Response) -> tuple[Any, ...]:
    """What a client is told, without what is every request's or every slot's own."""
    own = {"x-request-id", "location", "content-length"}
    headers = sorted((name, value) for name, value in reply.headers.items() if name not in own)
    content = reply.json()
    for name in ("trace_id", "id", "slot_id", "doctor_id", "patient_id"):
        content.pop(name, None)
    return reply.status_code, headers, content


async def both(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, sent: Sent
) -> tuple[httpx.Response, httpx.Response]:
    """Send it on the straight way and on the ordinary one, each time by another patient for another slot."""
    ways = app.edge.straight
    replies = []
    for offered in (ways, {}):
        app.edge.straight = offered
        patient, slot_id = await patient_and_slot(people, clinic)
        replies.append(await sent.to(api, patient.token, slot_id))
    app.edge.straight = ways
    return replies[0], replies[1]


@pytest.mark.parametrize("sent", REGULAR, ids=lambda sent: sent.name)
async def test_a_regular_request_goes_straight_and_is_told_the_same(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, served: Served, sent: Sent
) -> None:
    """Status, headers and body."""
    straight, ordinary = await both(app, api, people, clinic, sent)

    assert told(straight) == told(ordinary)
    assert straight.status_code == 201
    assert served == Served(straight=1)


@pytest.mark.parametrize("sent", IRREGULAR, ids=lambda sent: sent.name)
async def test_an_irregular_request_is_left_to_the_ordinary_way(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, served: Served, sent: Sent
) -> None:
    """With all of its body."""
    straight, ordinary = await both(app, api, people, clinic, sent)

    assert told(straight) == told(ordinary)
    assert served == Served(ordinary=1)


async def test_refusals_are_the_same(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, served: Served
) -> None:
    """No such slot, another role, a token of nobody, a slot that is taken: problems, headers and counts."""
    patient, slot_id = await patient_and_slot(people, clinic)
    doctor = await clinic.doctor()
    taken = await Sent("first").to(api, (await people.patient()).token, slot_id)
    assert taken.status_code == 201
    ways = app.edge.straight
    cases = [
        (patient.token, "0198f3c2-8b21-7d4f-8a65-4a2d6c8e3fa1", 404),
        (doctor.token, slot_id, 403),
        ("a.b.c", slot_id, 401),
        (patient.token, slot_id, 409),
    ]
    for token, wanted, status in cases:
        told_each = []
        for offered in (ways, {}):
            app.edge.straight = offered
            told_each.append(told(await Sent("refused").to(api, token, wanted)))
        assert told_each[0] == told_each[1]
        assert told_each[0][0] == status
    assert served.straight == 1 + len(cases)


async def test_replays_are_the_same_whichever_way_came_first(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, served: Served
) -> None:
    """The fingerprint of a request does not depend on its way."""
    sent = REGULAR[1]
    ways = app.edge.straight
    for first, second in ((ways, {}), ({}, ways)):
        patient, slot_id = await patient_and_slot(people, clinic)
        app.edge.straight = first
        booked = await sent.to(api, patient.token, slot_id)
        app.edge.straight = second
        again = await sent.to(api, patient.token, slot_id)
        assert (again.status_code, again.content) == (201, booked.content)
        assert again.headers["Idempotency-Replayed"] == "true"
    assert served.straight == 2


async def test_a_failure_of_ours_is_answered_and_logged_alike(
    app: BehindExpress,
    api: httpx.AsyncClient,
    people: People,
    clinic: Clinic,
    events: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """500, and the ids in the log."""
    events.expect("request.failed")
    monkeypatch.setattr("telemed.booking.appointments.desk.look_at_slots", AsyncMock(side_effect=KeyError))

    straight, ordinary = await both(app, api, people, clinic, REGULAR[0])

    assert told(straight) == told(ordinary)
    assert straight.status_code == 500


async def test_a_body_that_is_too_large_is_refused_alike(
    app: BehindExpress, api: httpx.AsyncClient, people: People, clinic: Clinic, resources: Resources
) -> None:
    """Announced or not."""
    much = b" " * resources.settings.max_body_bytes
    for body in (much + b"{}", [much, b"{}"]):
        straight, ordinary = await both(app, api, people, clinic, Sent("too large", body))
        assert told(straight) == told(ordinary)
        assert straight.status_code == 413


async def test_a_route_that_needs_more_is_no_straight_way(resources: Resources) -> None:
    """A parameter that is added later would be left at its default without a word."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/booking/things")
    async def book_thing(body: BookSlot, work: PatientWrites, urgent: bool = False) -> Response:
        """Never called."""
        raise AssertionError((body, work, urgent))

    service = replace(SERVICE, routers=(router,), priorities={}, straight=("POST /booking/things",))
    app = build_api([service], resources, with_platform_routes=False)
    with pytest.raises(ValueError, match="takes more"):
        straight_ways(app, [service])


async def test_a_look_that_must_be_told_something_is_no_straight_way(resources: Resources) -> None:
    """What is left out stands for its default there, and this has none."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/booking/things")
    async def look_at_things(work: UserReads, of: str) -> Response:
        """Never called."""
        raise AssertionError((work, of))

    service = replace(SERVICE, routers=(router,), priorities={}, straight=("GET /booking/things",))
    app = build_api([service], resources, with_platform_routes=False)
    with pytest.raises(ValueError, match="may be left out"):
        straight_ways(app, [service])


@pytest.mark.parametrize(
    "name",
    [
        "POST /booking/nowhere",
        "GET /booking/slots/book",
        "POST /booking/appointments/{id}/cancel",
        "GET /booking/appointments/{id}",
    ],
)
async def test_a_way_that_leads_nowhere_is_found_at_the_start(resources: Resources, name: str) -> None:
    """Spelt wrong, or to a route that needs more than a body and a caller, it would be slow or wrong without a word."""
    app = build_api([SERVICE], resources, with_platform_routes=False)
    with pytest.raises(ValueError, match="/booking"):
        straight_ways(app, [replace(SERVICE, straight=(name,))])


DOCTOR_ID = "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"
SEARCHES = [
    "",
    "?limit=1",
    "?specialization=Nephrology&language=EN&max_fee_minor=70000&limit=3",
    "?from=2026-11-24T09:00:00%2B05:30&to=2026-11-30T00:00:00Z",
    f"?doctor_id={DOCTOR_ID}",
    "?specialization=Zahn%C3%A4rzte+%26+Co",
    "?specialization=%ff",
    "?&&limit=1",
    "?cursor=AAAA",
    "?from=2026-11-30T00:00:00Z&to=2026-11-24T09:00:00Z",
]
ODD_SEARCHES = [
    "?limit=0",
    "?limit=1&limit=2",
    "?limit=",
    "?specialization=",
    "?specialization=&limit=1",
    "?limit=one",
    "?Limit=1",
    "?specialization=" + "x" * 81,
    "?specialization=%00",
    "?unknown=1",
    "?starts_from=2026-11-24T09:00:00Z",
    "?from=yesterday",
    "?doctor_id=me",
    "?max_fee_minor=-1",
    "?cursor=" + "x" * 600,
    "?limit",
    "?limit=1;limit=2",
    "?wanted=1",
]


async def found_both_ways(app: BehindExpress, api: httpx.AsyncClient, query: str) -> list[tuple[Any, ...]]:
    """Search on the straight way and on the ordinary one."""
    ways, app.edge.express = app.edge.straight, None
    told_each = []
    for offered in (ways, {}):
        app.edge.straight = offered
        told_each.append(told(await api.get(f"/booking/slots/search{query}")))
    app.edge.straight = ways
    return told_each


@pytest.mark.parametrize("query", SEARCHES)
async def test_a_regular_search_goes_straight_and_is_told_the_same(
    app: BehindExpress, api: httpx.AsyncClient, clinic: Clinic, served: Served, query: str
) -> None:
    """What it finds, and what is wrong with it in the endpoint's eyes."""
    await clinic.slots(await clinic.doctor(specialization="Nephrology"), 4)
    straight, ordinary = await found_both_ways(app, api, query)
    assert straight == ordinary
    assert served == Served(straight=1)


@pytest.mark.parametrize("query", ODD_SEARCHES)
async def test_an_odd_search_is_left_to_the_ordinary_way(
    app: BehindExpress, api: httpx.AsyncClient, served: Served, query: str
) -> None:
    """Which knows what is wrong, if anything is."""
    straight, ordinary = await found_both_ways(app, api, query)
    assert straight == ordinary
    assert served == Served(ordinary=1)
