"""The straight way of hot writes: the same answers as FastAPI's, and nothing of its own to say."""

from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fastapi import APIRouter, Response
from tests.support.clinic import Clinic
from tests.support.express import BehindExpress
from tests.support.people import People, User
from tests.support.ways import BEARER, JSON, Sent, Ways, told

from telemed.booking.appointments.schemas import BookSlot
from telemed.booking.service import SERVICE
from telemed.contracts.access import PatientWrites, UserReads
from telemed.kernel.http.app import build_api
from telemed.kernel.http.straight import straight_ways
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.resources import Resources

PLAIN = Sent("/booking/slots/book", b'{"slot_id": "SLOT", "reason": "Itching"}', (BEARER, JSON))
REGULAR = {
    "plain": PLAIN,
    "with a key": PLAIN.adding("Idempotency-Key", "k-1"),
    "with a charset": PLAIN.but(headers=(BEARER, ("Content-Type", JSON[1] + "; charset=utf-8"))),
    "without a reason": PLAIN.but(body=b'{"slot_id": "SLOT"}'),
    "in pieces": PLAIN.but(body=[b'{"slot_id": ', b'"SLOT"', b"}"]),
}
IRREGULAR = {
    "without a token": PLAIN.but(headers=(JSON,)),
    "with two tokens": PLAIN.adding(*BEARER),
    "with a small bearer": PLAIN.but(headers=(("Authorization", "bearer TOKEN"), JSON)),
    "with a wide gap": PLAIN.but(headers=(("Authorization", "Bearer  TOKEN"), JSON)),
    "with a password": PLAIN.but(headers=(("Authorization", "Basic TOKEN"), JSON)),
    "with an empty token": PLAIN.but(headers=(("Authorization", "Bearer "), JSON)),
    "with a token of two words": PLAIN.but(headers=(("Authorization", "Bearer TOKEN TOKEN"), JSON)),
    "with an umlaut in the token": PLAIN.but(headers=(("Authorization", "Bearer \xe4"), JSON)),
    "with two keys": PLAIN.adding("Idempotency-Key", "a", "b"),
    "with an empty key": PLAIN.adding("Idempotency-Key", ""),
    "with a long key": PLAIN.adding("Idempotency-Key", "k" * 256),
    "with a key of two words": PLAIN.adding("Idempotency-Key", "a b"),
    "with an umlaut in the key": PLAIN.adding("Idempotency-Key", "\xe4"),
    "without a type": PLAIN.but(headers=(BEARER,)),
    "with a type of text": PLAIN.but(headers=(BEARER, ("Content-Type", "text/plain"))),
    "with a type like it": PLAIN.but(headers=(BEARER, ("Content-Type", "application/x+json"))),
    "with two types": PLAIN.adding("Content-Type", "text/plain"),
    "without a body": PLAIN.but(body=b""),
    "with half a body": PLAIN.but(body=b'{"slot_id": "SLOT"'),
    "with a name twice": PLAIN.but(body=b'{"slot_id": "SLOT", "slot_id": "SLOT"}'),
    "with no number": PLAIN.but(body=b'{"slot_id": "SLOT", "reason": NaN}'),
    "with an array": PLAIN.but(body=b'["SLOT"]'),
    "with null": PLAIN.but(body=b"null"),
    "with an unknown field": PLAIN.but(body=b'{"slot_id": "SLOT", "urgent": true}'),
    "without the slot": PLAIN.but(body=b'{"reason": "Itching"}'),
    "with no id": PLAIN.but(body=b'{"slot_id": "the first one"}'),
    "with half a character": PLAIN.but(body=b'{"slot_id": "SLOT", "reason": "\\ud800"}'),
    "with a zero byte": PLAIN.but(body=b'{"slot_id": "SLOT", "reason": "\\u0000"}'),
    "with a long reason": PLAIN.but(body=b'{"slot_id": "SLOT", "reason": "' + b"x" * 1001 + b'"}'),
    "in latin-1": PLAIN.but(body='{"slot_id": "SLOT", "reason": "\xe4"}'.encode("latin-1")),
}


async def patient_and_slot(people: People, clinic: Clinic) -> tuple[User, str]:
    (slot,) = await clinic.slots(await clinic.doctor())
    return await people.patient(), slot["id"]


async def book(api: httpx.AsyncClient, sent: Sent, patient: User, slot_id: str) -> httpx.Response:
    return await sent.to(api, TOKEN=patient.token or "", SLOT=slot_id)


async def both(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic, sent: Sent
) -> tuple[httpx.Response, httpx.Response]:
    """Send it on the straight way and on the ordinary one, each time by another patient for another slot."""
    first, second = [await patient_and_slot(people, clinic) for _ in range(2)]
    return await ways.straight(book(api, sent, *first)), await book(api, sent, *second)


@pytest.mark.parametrize("sent", REGULAR.values(), ids=REGULAR)
async def test_a_regular_request_goes_straight_and_is_told_the_same(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic, sent: Sent
) -> None:
    """Status, headers and body."""
    straight, ordinary = await both(ways, api, people, clinic, sent)

    assert told(straight) == told(ordinary)
    assert straight.status_code == 201
    assert ways.taken == ["straight"]


async def test_whoever_wants_a_trace_goes_straight_too(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic
) -> None:
    """Its notes tell as much as the framework's instrumentation, which costs more than many a request."""
    sampled = PLAIN.adding("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    straight, ordinary = await both(ways, api, people, clinic, sampled)

    assert told(straight) == told(ordinary)
    assert ways.taken == ["straight"]


@pytest.mark.parametrize("sent", IRREGULAR.values(), ids=IRREGULAR)
async def test_an_irregular_request_is_left_to_the_ordinary_way(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic, sent: Sent
) -> None:
    """With all of its body."""
    straight, ordinary = await both(ways, api, people, clinic, sent)

    assert told(straight) == told(ordinary)
    assert ways.taken == ["ordinary"]


async def test_refusals_are_the_same(ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic) -> None:
    """No such slot, another role, a token of nobody, a slot that is taken: problems, headers and counts."""
    patient, slot_id = await patient_and_slot(people, clinic)
    doctor = await clinic.doctor()
    taken = await book(api, PLAIN, await people.patient(), slot_id)
    assert taken.status_code == 201
    cases = [
        (patient.token, "0198f3c2-8b21-7d4f-8a65-4a2d6c8e3fa1", 404),
        (doctor.token, slot_id, 403),
        ("a.b.c", slot_id, 401),
        (patient.token, slot_id, 409),
    ]
    for token, wanted, status in cases:
        replies = [await way(PLAIN.to(api, TOKEN=token or "", SLOT=wanted)) for way in ways.both]
        assert told(replies[0]) == told(replies[1])
        assert replies[0].status_code == status
    assert ways.taken == ["straight"] * len(cases)


async def test_replays_are_the_same_whichever_way_came_first(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic
) -> None:
    """The fingerprint of a request does not depend on its way."""
    sent = REGULAR["with a key"]
    for first, second in (ways.both, ways.both[::-1]):
        whose = await patient_and_slot(people, clinic)
        booked = await first(book(api, sent, *whose))
        again = await second(book(api, sent, *whose))
        assert (again.status_code, again.content) == (201, booked.content)
        assert again.headers["Idempotency-Replayed"] == "true"
    assert ways.taken == ["straight", "straight"]


async def test_a_failure_of_ours_is_answered_and_logged_alike(
    ways: Ways,
    api: httpx.AsyncClient,
    people: People,
    clinic: Clinic,
    events: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """500, and the ids in the log."""
    events.expect("request.failed")
    monkeypatch.setattr("telemed.booking.appointments.desk.look_at_slots", AsyncMock(side_effect=KeyError))

    straight, ordinary = await both(ways, api, people, clinic, PLAIN)

    assert told(straight) == told(ordinary)
    assert straight.status_code == 500


async def test_a_body_that_is_too_large_is_refused_alike(
    ways: Ways, api: httpx.AsyncClient, people: People, clinic: Clinic, resources: Resources
) -> None:
    """Announced or not."""
    much = b" " * resources.settings.max_body_bytes
    for body in (much + b"{}", [much, b"{}"]):
        straight, ordinary = await both(ways, api, people, clinic, PLAIN.but(body=body))
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


async def found_both_ways(
    ways: Ways, app: BehindExpress, api: httpx.AsyncClient, query: str
) -> tuple[httpx.Response, httpx.Response]:
    """Search on the straight way and on the ordinary one."""
    app.edge.express = None
    path = f"/booking/slots/search{query}"
    return await ways.straight(api.get(path)), await api.get(path)


@pytest.mark.parametrize("query", SEARCHES)
async def test_a_regular_search_goes_straight_and_is_told_the_same(
    ways: Ways, app: BehindExpress, api: httpx.AsyncClient, clinic: Clinic, query: str
) -> None:
    """What it finds, and what is wrong with it in the endpoint's eyes."""
    await clinic.slots(await clinic.doctor(specialization="Nephrology"), 4)
    straight, ordinary = await found_both_ways(ways, app, api, query)
    assert told(straight) == told(ordinary)
    assert ways.taken == ["straight"]


@pytest.mark.parametrize("query", ODD_SEARCHES)
async def test_an_odd_search_is_left_to_the_ordinary_way(
    ways: Ways, app: BehindExpress, api: httpx.AsyncClient, query: str
) -> None:
    """Which knows what is wrong, if anything is."""
    straight, ordinary = await found_both_ways(ways, app, api, query)
    assert told(straight) == told(ordinary)
    assert ways.taken == ["ordinary"]
