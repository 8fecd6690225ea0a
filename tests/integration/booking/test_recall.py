"""Answers given again from memory: the very same answers, and none when anything has changed or may have."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import httpx
import pytest
from tests.support.clinic import Clinic
from tests.support.express import BehindExpress
from tests.support.people import People, User
from tests.support.waiting import until

from telemed.booking.slots import recall
from telemed.booking.slots.loads import PageLoads
from telemed.booking.slots.search import SlotSearch
from telemed.booking.slots.shelf import GoneSlot, SlotShelf
from telemed.kernel.cache import aside
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.clock import ManualClock
from telemed.kernel.http.admission import held_place
from telemed.kernel.http.app import at_the_edge, build_api
from telemed.kernel.http.server import constraint_problems, opened
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings


@pytest.fixture
async def elsewhere(
    settings: Settings, clock: ManualClock, services: tuple[Service, ...]
) -> AsyncIterator[httpx.AsyncClient]:
    """A second process of the platform, which remembers nothing of the first."""
    problems = constraint_problems(services)
    async with (
        open_resources(settings, constraint_problems=problems, clock=clock) as resources,
        opened(services, resources),
    ):
        app = at_the_edge(build_api(services, resources, with_platform_routes=False), services, resources)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://telemed.test") as client:
            yield client


async def search(client: httpx.AsyncClient, doctor: User, **more: str) -> httpx.Response:
    reply = await client.get("/booking/slots/search", params={"doctor_id": doctor.id, **more})
    assert reply.status_code == 200, reply.text
    return reply


async def shown(client: httpx.AsyncClient, doctor: User, **more: str) -> list[str]:
    return [item["id"] for item in (await search(client, doctor, **more)).json()["items"]]


async def remembered(api: httpx.AsyncClient, app: BehindExpress, doctor: User, **more: str) -> None:
    """Ask until the answer comes from memory: the first loads the page, the second finds it on the shelf."""
    for _ in range(3):
        await search(api, doctor, **more)
    before = app.answered
    await search(api, doctor, **more)
    assert app.answered == before + 1


async def test_what_was_asked_before_is_answered_alike(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic
) -> None:
    """Status, headers and body are those of the ordinary way, but for the request's id."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor, 3)
    ordinary = [await search(api, doctor) for _ in range(2)]
    assert app.answered == 0

    short = await search(api, doctor)

    assert app.answered == 1
    for reply in (*ordinary, short):
        assert len(reply.headers.pop("x-request-id")) == 24
    assert (short.content, short.headers.raw) == (ordinary[1].content, ordinary[1].headers.raw)


@pytest.mark.parametrize("change", ["book", "move", "withdraw"])
async def test_what_another_process_took_away_is_gone_at_once(
    api: httpx.AsyncClient,
    app: BehindExpress,
    people: People,
    clinic: Clinic,
    elsewhere: httpx.AsyncClient,
    change: str,
) -> None:
    """The next answer does not show it, although nothing told this process."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    headers = {"Authorization": f"Bearer {(doctor if change == 'withdraw' else patient).token}"}
    if change == "move":
        booked = await patient.post("/booking/slots/book", {"slot_id": slots[2]})
        await remembered(api, app, doctor)
        path = f"/booking/appointments/{booked.json()['id']}/reschedule"
        reply = await elsewhere.post(path, json={"slot_id": slots[0]}, headers=headers)
        expected = [slots[1], slots[2]]
    elif change == "book":
        await remembered(api, app, doctor)
        reply = await elsewhere.post("/booking/slots/book", json={"slot_id": slots[0]}, headers=headers)
        expected = slots[1:]
    else:
        await remembered(api, app, doctor)
        reply = await elsewhere.delete(f"/booking/slots/{slots[0]}", headers=headers)
        expected = slots[1:]
    assert reply.is_success, reply.text
    before = app.answered

    assert await shown(api, doctor) == expected

    # What only takes away is corrected from memory; a move gives a slot back, which only the source knows.
    assert app.answered - before == (change != "move")


async def test_a_page_that_runs_dry_is_loaded_anew(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, elsewhere: httpx.AsyncClient
) -> None:
    """However many of its slots are taken away, a page shows as many as were asked for."""
    doctor = await clinic.doctor()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 40)]
    await remembered(api, app, doctor, limit="5")
    headers = {"Authorization": f"Bearer {doctor.token}"}
    for taken in range(1, 31):
        (await elsewhere.delete(f"/booking/slots/{slots[taken - 1]}", headers=headers)).raise_for_status()
        assert await shown(api, doctor, limit="5") == slots[taken : taken + 5]


async def test_what_another_process_added_is_there_at_once(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, elsewhere: httpx.AsyncClient
) -> None:
    """A publication voids what is remembered."""
    doctor = await clinic.doctor()
    (first,) = await clinic.slots(doctor)
    await remembered(api, app, doctor)
    times = {"starts_at": "2026-11-25T09:00:00Z", "ends_at": "2026-11-25T09:30:00Z"}
    headers = {"Authorization": f"Bearer {doctor.token}"}
    published = await elsewhere.post("/booking/slots", json={"slots": [times]}, headers=headers)

    assert await shown(api, doctor) == [first["id"], published.json()["items"][0]["id"]]


async def test_what_this_process_took_away_is_gone_although_redis_does_not_know(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, resources: Resources
) -> None:
    """A note that did not arrive is known here all the same."""
    doctor = await clinic.doctor()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    await remembered(api, app, doctor)
    shelf = resources.part(SlotShelf)
    shelf._remember([GoneSlot(UUID(slots[0]), 1, UUID(doctor.id), "anything")], resources.clock.now())

    assert await shown(api, doctor) == slots[1:]


async def test_who_booked_knows_although_nobody_could_be_told(
    api: httpx.AsyncClient,
    app: BehindExpress,
    people: People,
    clinic: Clinic,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The note for the others is lost, and Redis gives the page as it was: this process leaves the slot out."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    await remembered(api, app, doctor)
    monkeypatch.setattr(resources.cache, "run_all", AsyncMock(side_effect=CacheUnavailable))

    assert (await patient.post("/booking/slots/book", {"slot_id": slots[0]})).status_code == 201

    assert await shown(api, doctor) == slots[1:]


async def test_a_slot_that_begins_is_not_recalled(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, clock: ManualClock
) -> None:
    """What is remembered ends when the first of its slots begins."""
    doctor = await clinic.doctor()
    first, second = await clinic.slots(doctor, 2, starts_at=clock.now() + timedelta(seconds=3))
    await remembered(api, app, doctor)

    clock.advance(timedelta(seconds=2.9))
    assert await shown(api, doctor) == [first["id"], second["id"]]
    clock.advance(timedelta(seconds=0.2))
    before = app.answered
    assert await shown(api, doctor) == [second["id"]]
    assert app.answered == before


@pytest.fixture
def nine_tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are due to be refreshed after nine tenths of their time, not after four fifths to all of it."""
    monkeypatch.setattr(aside, "_JITTER", (0.9, 0.9))


@pytest.mark.usefixtures("nine_tenths")
async def test_nothing_is_recalled_for_longer_than_a_page_is_fresh(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, clock: ManualClock, settings: Settings
) -> None:
    """Whatever is asked then takes the ordinary way."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor)
    await remembered(api, app, doctor)
    clock.advance(timedelta(seconds=settings.search_fresh_seconds))
    before = app.answered
    await asyncio.gather(*(search(api, doctor) for _ in range(5)))
    assert app.answered == before


@pytest.mark.usefixtures("nine_tenths")
async def test_a_page_that_is_due_costs_the_ordinary_way_twice(
    api: httpx.AsyncClient,
    app: BehindExpress,
    clinic: Clinic,
    clock: ManualClock,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once to begin the refreshing and once to find the new page; all others are answered from memory meanwhile."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor)
    await remembered(api, app, doctor)
    fresh, may_load, load = timedelta(seconds=settings.search_fresh_seconds), asyncio.Event(), PageLoads.load

    async def slow(*given: Any, **named: Any) -> Any:
        await may_load.wait()
        loaded.append(await load(*given, **named))
        return loaded[-1]

    loaded: list[Any] = []
    monkeypatch.setattr(PageLoads, "load", slow)

    async def from_memory(times: int) -> int:
        before = app.answered
        for _ in range(times):
            await search(api, doctor)
        return app.answered - before

    clock.advance(fresh * 0.89)
    assert await from_memory(3) == 3
    clock.advance(fresh * 0.02)
    assert await from_memory(10) == 9
    may_load.set()
    await until(lambda: bool(loaded))
    clock.advance(timedelta(seconds=0.1))
    assert await from_memory(10) == 9
    clock.advance(fresh / 2)
    assert await from_memory(10) == 10
    assert len(loaded) == 1


@pytest.mark.parametrize("doubt", ["redis failed", "primary gone", "draining", "full"])
async def test_in_doubt_nothing_is_recalled(
    api: httpx.AsyncClient,
    app: BehindExpress,
    clinic: Clinic,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    doubt: str,
) -> None:
    """The ordinary way knows what to say then: an age, that the connection ends, that there is no room."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor)
    await remembered(api, app, doctor)
    before = app.answered
    if doubt == "redis failed":
        resources.clock.advance(timedelta(milliseconds=1))  # type: ignore[attr-defined]  # a manual one
        resources.cache.distrust(f"telemed:search:{{doctor:{UUID(doctor.id).hex}}}:generation", "a test")
    elif doubt == "primary gone":
        monkeypatch.setattr(type(resources.reads), "is_primary_gone", True)
    elif doubt == "draining":
        resources.health.is_draining = True
    else:
        monkeypatch.setattr(app.edge._admission, "_total", 10**6)

    reply = await api.get("/booking/slots/search", params={"doctor_id": doctor.id})

    assert app.answered == before
    if doubt == "primary gone":
        assert "age" in reply.headers
    if doubt == "draining":
        assert reply.headers["connection"] == "close"
    assert reply.status_code == (503 if doubt == "full" else 200)


@pytest.mark.parametrize("want", ["full", "overrun"])
async def test_who_is_refused_is_told_the_same_on_both_ways(
    api: httpx.AsyncClient, app: BehindExpress, resources: Resources, monkeypatch: pytest.MonkeyPatch, want: str
) -> None:
    """Status, headers and body, but for ids and the spread pause; counted alike. Before anything is looked up."""
    if want == "full":
        monkeypatch.setattr(app.edge._admission, "_total", 10**6)
    else:
        monkeypatch.setattr(SlotSearch, "room", lambda _: 0)
    monkeypatch.setattr(SlotSearch, "known", None)
    # A deadline of its own is what makes the second one take the ordinary way.
    later = {"X-Request-Deadline": "2100-01-01T00:00:00Z"}
    told, counts = [], [counted_refusals(resources, want)]
    for headers in ({}, later):
        reply = await api.get("/booking/slots/search?limit=3", headers=headers)
        assert 2 <= int(reply.headers.pop("retry-after")) <= 5
        assert len(reply.headers.pop("x-request-id")) == 24
        document = reply.json()
        assert len(document.pop("trace_id")) == 32
        told.append((reply.status_code, reply.headers.multi_items(), document))
        counts.append(counted_refusals(resources, want))
    assert told[0] == told[1]
    assert told[0][0] == 503
    assert app.refused == 1
    assert [later - before for before, later in zip(counts[0], counts[1], strict=True)] == [1, 1, 1]
    assert [later - before for before, later in zip(counts[1], counts[2], strict=True)] == [1, 1, 1]


async def test_of_those_who_come_at_once_only_as_many_are_let_in_as_there_is_room(
    app: BehindExpress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is let in counts from then on, and not when the task begins that serves it: that is after all have come."""
    monkeypatch.setattr(SlotSearch, "room", lambda _: 2)
    come = [Comer() for _ in range(4)]
    express = app.edge.express
    assert express is not None

    assert [express.begin(one.scope, one) for one in come] == [False, False, True, True]
    assert [one.status for one in come] == [None, None, 503, 503]

    for one in come[:2]:
        place = held_place(one.scope)
        assert place is not None
        assert place.take() is None, "it is taken already"
        place.free()
        place.free()
    others = [Comer() for _ in range(3)]
    assert [express.begin(one.scope, one) for one in others] == [False, False, True], "it is given back once"
    for one in others[:2]:
        held_place(one.scope).free()  # type: ignore[union-attr]  # they were let in


async def test_who_is_let_in_and_must_take_the_ordinary_way_keeps_the_place(
    app: BehindExpress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Redis is lost, all whose answers it was to confirm take that way at once."""
    monkeypatch.setattr(SlotSearch, "room", lambda _: 1)
    monkeypatch.setattr(SlotSearch, "known", lambda _self, _asked: lambda then: then(None))
    express, first, second = app.edge.express, Comer(), Comer()
    assert express is not None

    assert express.begin(first.scope, first)
    assert express.begin(second.scope, second)

    assert (first.takes_ordinary_way, first.status) == (True, None)
    assert (second.takes_ordinary_way, second.status) == (False, 503)
    held_place(first.scope).free()  # type: ignore[union-attr]  # it was let in


class Comer:
    """A search that nobody has asked for before, on a connection of its own."""

    is_gone = False

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/booking/slots/search",
            "query_string": b"limit=3",
            "headers": [],
        }
        self.status: int | None = None
        self.takes_ordinary_way = False

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        """Note the answer."""
        assert head
        assert body
        self.status = status

    def take_ordinary_way(self) -> None:
        """Note that the short way leads nowhere."""
        self.takes_ordinary_way = True


def counted_refusals(resources: Resources, reason: str) -> tuple[float, ...]:
    """Read what is counted of a refusal: as such, as a request, and as a problem."""
    metrics = resources.metrics
    asked = [
        sample.value
        for sample in next(iter(metrics.requests.collect())).samples
        if sample.labels["route"] == "/booking/slots/search" and sample.labels["status"] == "503"
    ]
    problems = [
        sample.value
        for sample in next(iter(metrics.problems.collect())).samples
        if sample.labels["type"] == "overloaded" and sample.name.endswith("_total")
    ]
    return metrics.refused.labels("browsing", reason)._value.get(), sum(asked), sum(problems)


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "2"}, {"X-Request-Deadline": "2026-11-23T09:00:00Z"}, {"Expect": "100-continue"}]
)
async def test_unusual_requests_take_the_ordinary_way(
    api: httpx.AsyncClient, app: BehindExpress, clinic: Clinic, headers: dict[str, str]
) -> None:
    """It knows what the header means."""
    doctor = await clinic.doctor()
    await clinic.slots(doctor)
    await remembered(api, app, doctor)
    before = app.answered

    await api.get("/booking/slots/search", params={"doctor_id": doctor.id}, headers=headers)

    assert app.answered == before


async def test_redis_that_is_gone_costs_memory_not_answers(
    api: httpx.AsyncClient,
    app: BehindExpress,
    clinic: Clinic,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the two words nothing is recalled; the ordinary way answers without Redis."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)
    await remembered(api, app, doctor)
    before = app.answered
    monkeypatch.setattr(resources.cache, "run", AsyncMock(side_effect=CacheUnavailable))

    assert await shown(api, doctor) == [slot["id"]]

    assert app.answered == before


async def test_memory_is_bounded(
    api: httpx.AsyncClient, clinic: Clinic, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many queries there are; the oldest answers go, and a query that is too long is not kept."""
    monkeypatch.setattr(recall, "_ROOM_BYTES", 20_000)
    doctor = await clinic.doctor()
    await clinic.slots(doctor, 2)
    memory = resources.part(SlotSearch)._recall
    for number in range(30):
        for _ in range(2):
            await search(api, doctor, ignored=str(number))
    for _ in range(3):
        await search(api, doctor, ignored="x" * 600)

    assert 0 < len(memory._answers) < 30
    assert memory._kept_bytes == sum(answer.size_bytes for answer in memory._answers.values()) <= 20_000
    assert all(len(key) <= 512 for key in memory._answers)


async def test_any_history_is_answered_as_the_ordinary_way_answers(
    api: httpx.AsyncClient, app: BehindExpress, people: People, clinic: Clinic, elsewhere: httpx.AsyncClient
) -> None:
    """Sixty changes by two processes in a random order; after each, memory and a process without one agree."""
    dice = random.Random(7)  # noqa: S311 - the same history every time
    doctor, patients = await clinic.doctor(), await people.patients(8)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 8)]
    appointments: dict[str, tuple[User, str]] = {}
    queries: list[dict[str, str]] = [{}, {"limit": "3"}, {"to": "2026-11-24T10:00:00Z"}]
    for _ in range(60):
        client = dice.choice([api, elsewhere])
        slot = dice.choice(slots)
        if slot in appointments:
            patient, appointment = appointments.pop(slot)
            path, body = f"/booking/appointments/{appointment}/cancel", None
        else:
            patient = patients[slots.index(slot)]
            path, body = "/booking/slots/book", {"slot_id": slot}
        reply: Any = await client.post(path, json=body, headers={"Authorization": f"Bearer {patient.token}"})
        assert reply.is_success, reply.text
        if body is not None:
            appointments[slot] = patient, reply.json()["id"]
        for query in queries:
            expected = await shown(elsewhere, doctor, **query)
            for _ in range(4):
                assert await shown(api, doctor, **query) == expected
    assert app.answered > 0, "nothing was recalled, so nothing was shown"
