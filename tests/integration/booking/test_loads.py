"""Searches of one kind that come at the same time are one statement; each is answered as if it had been alone."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from tests.support.clinic import Clinic
from tests.support.people import People
from tests.support.waiting import until

from telemed.booking.slots.cards import Found, found_in
from telemed.booking.slots.loads import PageLoads
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.search import SlotSearch
from telemed.kernel.direct import Direct
from telemed.kernel.problems import Overloaded
from telemed.kernel.replication.positions import WalPosition
from telemed.kernel.replication.replicas import Served
from telemed.kernel.resources import Resources


class Watched:
    """Counts what is asked of the database; holds what it is told to hold, after it was answered."""

    def __init__(self) -> None:
        self.begun = 0
        self.holds: Callable[[], bool] = lambda: False
        self.may_go_on = asyncio.Event()

    async def find(self, find: Any, direct: Direct) -> Any:
        """Ask."""
        self.begun += 1
        is_held = self.holds()
        found = await find(direct)
        if is_held:
            await self.may_go_on.wait()
        return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Everything that search asks of the database."""
    watched, read = Watched(), PageLoads._read

    async def read_watched(loads: PageLoads, find: Any, at_least: Any) -> Any:
        return await read(loads, partial(watched.find, find), at_least)

    monkeypatch.setattr(PageLoads, "_read", read_watched)
    return watched


async def searched(client: httpx.AsyncClient, **filters: object) -> list[str]:
    """Give the ids of what is found."""
    query = "&".join(f"{name}={quote(str(value))}" for name, value in filters.items())
    reply = await client.get(f"/booking/slots/search?{query}")
    assert reply.status_code == 200, reply.text
    return [slot["id"] for slot in reply.json()["items"]]


async def test_who_searches_at_the_same_time_shares_a_statement(
    people: People, clinic: Clinic, watched: Watched
) -> None:
    """And finds what is theirs, however many they are: of each doctor's slots, those from another one on."""
    field, client = f"Nephrology {uuid4().hex[:12]}", people.nobody.client
    slots = [slot["id"] for slot in await clinic.slots(await clinic.doctor(specialization=field), 40)]

    def after(place: int) -> str:
        return f"{clinic.opens_at + timedelta(minutes=30 * place):%Y-%m-%dT%H:%M:%SZ}"

    answers = await asyncio.gather(
        *(searched(client, **{"specialization": field, "from": after(place)}) for place in range(41))
    )

    for place, answer in enumerate(answers):
        assert answer == slots[place : place + 20], place
    assert 3 <= watched.begun < 20, "a statement asks for 16 at most"


async def test_whatever_else_is_asked_shares_it_by_one_index(people: People, clinic: Clinic, watched: Watched) -> None:
    """And each is answered by its own filters."""
    doctor, client = await clinic.doctor(languages=["en"]), people.nobody.client
    first, second = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    later = f"{clinic.opens_at + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    filters: list[dict[str, object]] = [
        {},
        {"language": "en"},
        {"language": "hi"},
        {"max_fee_minor": 0},
        {"from": later},
        {"to": later},
    ]

    answers = await asyncio.gather(*(searched(client, doctor_id=doctor.id, **more) for more in filters))

    assert answers == [[first, second], [first, second], [], [], [second], [first]]
    assert watched.begun < len(filters)


async def test_a_slow_kind_of_search_holds_up_only_its_own(people: People, clinic: Clinic, watched: Watched) -> None:
    """Whoever looks for a doctor's slots does not wait for those who look for any."""
    doctor, client = await clinic.doctor(), people.nobody.client
    (slot,) = await clinic.slots(doctor)
    watched.holds = lambda: True
    held = asyncio.create_task(searched(client, limit=7))
    await until(lambda: watched.begun == 1)
    watched.holds = lambda: False

    assert await searched(client, doctor_id=doctor.id) == [slot["id"]]

    assert not held.done()
    watched.may_go_on.set()
    assert len(await held) <= 7


async def test_nobody_is_given_what_was_found_before_they_came(
    people: People, clinic: Clinic, watched: Watched
) -> None:
    """Not even by a statement of their kind that is still under way."""
    doctor, client = await clinic.doctor(), people.nobody.client
    (first,) = await clinic.slots(doctor)
    watched.holds = lambda: watched.begun == 1
    early = asyncio.create_task(searched(client, doctor_id=doctor.id, limit=7))
    await until(lambda: watched.begun == 1)
    (second,) = await clinic.slots(doctor, starts_at=clinic.opens_at + timedelta(hours=1))

    assert await searched(client, doctor_id=doctor.id) == [first["id"], second["id"]]

    watched.may_go_on.set()
    assert first["id"] in await early


async def test_where_doctors_are_gathered_everybody_is_alone(people: People, clinic: Clinic, watched: Watched) -> None:
    """One statement would gather them again for each who shares it."""
    field, client = f"Nephrology {uuid4().hex[:12]}", people.nobody.client
    (slot,) = await clinic.slots(await clinic.doctor(specialization=field, languages=["en"]))
    assert await searched(client, specialization=field, language="en") == [slot["id"]]
    watched.begun = 0

    searches = (searched(client, specialization=field, language="en", limit=number) for number in range(1, 6))
    assert await asyncio.gather(*searches) == [[slot["id"]]] * 5

    assert watched.begun == 5


async def test_what_fails_fails_for_those_who_share_it(
    people: People, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for nobody after them."""
    doctor, client = await clinic.doctor(), people.nobody.client
    (slot,) = await clinic.slots(doctor)
    read = PageLoads._read

    async def fail(*_: object) -> None:
        monkeypatch.setattr(PageLoads, "_read", read)
        raise Overloaded

    monkeypatch.setattr(PageLoads, "_read", fail)
    paths = [f"/booking/slots/search?doctor_id={doctor.id}&limit={number}" for number in range(1, 5)]
    assert [(await client.get(path)).status_code for path in paths] == [503, 200, 200, 200]
    assert await searched(client, doctor_id=doctor.id) == [slot["id"]]


async def test_a_replica_must_have_come_as_far_as_any_of_them_needs(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who needs more than the others may not be shown less because of them."""
    loads, demanded = resources.part(SlotSearch)._loads, []

    async def read_directly(_find: object, at_least: WalPosition | None) -> Served[list[Found]]:
        demanded.append(at_least)
        return Served([found_in(None)] * 3, timedelta(seconds=3))

    monkeypatch.setattr(resources.reads, "read_directly", read_directly)
    needs = [WalPosition(1, 7), None, WalPosition(1, 9)]
    pages = await asyncio.gather(
        *(loads.load(SearchSlots(), after=None, spare=number, at_least=need) for number, need in enumerate(needs))
    )

    assert demanded == [WalPosition(1, 9)]
    assert {page.age for page in pages} == {timedelta(seconds=3)}
