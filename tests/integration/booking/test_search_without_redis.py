"""Redis may be stopped, frozen, flushed or replaced by something that answers nonsense: bookings and search go on."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import redis.asyncio
from tests import servers
from tests.support.clinic import Clinic
from tests.support.people import People, User
from tests.support.platform import Platform
from tests.support.waiting import until

from telemed.booking.slots.loads import PageLoads
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.search import SlotSearch
from telemed.booking.slots.shelf import SlotShelf
from telemed.kernel.cache.breaker import OPENS_AFTER
from telemed.kernel.direct import Direct
from telemed.kernel.replication.replicas import Served
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings
from telemed.local.valkey import ValkeyServer, start_valkey


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey for this test alone."""
    with servers.own_valkey() as server:
        yield server


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """The platform of this test talks to it."""
    return valkey.url


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the bound that production has."""
    return settings.model_copy(update={"redis_timeout_seconds": 0.05})


async def open_slots(client: httpx.AsyncClient, doctor: User) -> list[str]:
    reply = await client.get("/booking/slots/search", params={"doctor_id": doctor.id})
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


async def book(patient: User, slot_id: str) -> None:
    reply = await patient.post("/booking/slots/book", {"slot_id": slot_id})
    assert reply.status_code == 201, reply.text


async def test_everything_goes_on_while_redis_is_stopped(people: People, clinic: Clinic, valkey: ValkeyServer) -> None:
    """And search is right all the time."""
    doctor, patients = await clinic.doctor(), await people.patients(4)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 6)]
    client = people.nobody.client
    assert await open_slots(client, doctor) == slots

    valkey.stop()

    for place, patient in enumerate(patients):
        await book(patient, slots[place])
        assert await open_slots(client, doctor) == slots[place + 1 :]
    more = await clinic.slots(doctor, 1, starts_at=clinic.opens_at.replace(hour=20))
    assert await open_slots(client, doctor) == [*slots[4:], more[0]["id"]]


async def test_a_page_that_is_booked_while_it_is_loaded_leads_on(
    people: People, clinic: Clinic, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is loaded to spare while Redis is away; who meets an empty page goes on to the slots after it."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    valkey.stop()
    load = PageLoads.load

    async def booked_meanwhile(*args: Any, **kwargs: Any) -> Any:  # as the method that it stands in for
        loaded = await load(*args, **kwargs)
        await patient.post("/booking/slots/book", {"slot_id": slots[0]})
        return loaded

    query: dict[str, Any] = {"doctor_id": doctor.id, "limit": 1}
    with monkeypatch.context() as patch:
        patch.setattr(PageLoads, "load", booked_meanwhile)
        empty = (await people.nobody.get("/booking/slots/search", **query)).json()
    assert empty["items"] == []
    assert empty["next_cursor"] is not None

    following = (await people.nobody.get("/booking/slots/search", cursor=empty["next_cursor"], **query)).json()
    assert [item["id"] for item in following["items"]] == [slots[1]]


async def test_a_frozen_redis_costs_little_time(people: People, clinic: Clinic, valkey: ValkeyServer) -> None:
    """Each question to it is bounded, and after a few the breaker stops asking."""
    doctor, (patient,) = await clinic.doctor(), await people.patients(1)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    await open_slots(people.nobody.client, doctor)
    valkey.freeze()
    try:
        started = time.monotonic()
        await book(patient, slots[0])
        for _ in range(150):
            assert await open_slots(people.nobody.client, doctor) == slots[1:]
        # Without bound or breaker this would take for ever, or 7 seconds and more.
        assert time.monotonic() - started < 5
    finally:
        valkey.thaw()


async def test_what_was_booked_during_a_freeze_is_gone_after_it(
    people: People, clinic: Clinic, valkey: ValkeyServer
) -> None:
    """The page from before the freeze still lies in Redis; it is not believed."""
    doctor, patients = await clinic.doctor(), await people.patients(2)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    assert await open_slots(people.nobody.client, doctor) == slots
    valkey.freeze()
    await book(patients[0], slots[0])
    valkey.thaw()

    assert await open_slots(people.nobody.client, doctor) == slots[1:]
    await book(patients[1], slots[1])
    assert await open_slots(people.nobody.client, doctor) == slots[2:]


async def test_a_flush_loses_nothing(people: People, clinic: Clinic, valkey: ValkeyServer) -> None:
    """Before, between and after bookings."""
    doctor, patients = await clinic.doctor(), await people.patients(3)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 4)]

    for place, patient in enumerate(patients):
        assert await open_slots(people.nobody.client, doctor) == slots[place:]
        valkey.flush()
        await book(patient, slots[place])
        valkey.flush()
        assert await open_slots(people.nobody.client, doctor) == slots[place + 1 :]


async def has_lost_redis(client: httpx.AsyncClient) -> bool:
    return "telemed_cache_breaker_open 1.0" in (await client.get("/metrics")).text


async def test_other_processes_hear_of_it(
    platform_processes: Platform, live_people: People, live_clinic: Clinic, valkey: ValkeyServer
) -> None:
    """Two processes: what one booked while Redis was frozen is gone from the other's search when it thaws."""
    first, second = await platform_processes.serve("booking", "booking")
    doctor, (patient,) = (
        await live_clinic.doctor(specialization=f"Oncology {uuid4().hex}"),
        await live_people.patients(1),
    )
    slots = [slot["id"] for slot in await live_clinic.slots(doctor, 2)]
    async with httpx.AsyncClient(base_url=first.url) as here, httpx.AsyncClient(base_url=second.url) as there:
        assert await open_slots(there, doctor) == slots
        valkey.freeze()
        # The idle process notices by itself: it asks for a sign of life every second.
        await until(lambda: has_lost_redis(there), within_seconds=20)
        headers = {"Authorization": f"Bearer {patient.token}"}
        reply = await here.post("/booking/slots/book", json={"slot_id": slots[0]}, headers=headers)
        assert reply.status_code == 201
        valkey.thaw()

        assert await open_slots(there, doctor) == slots[1:]
        assert await open_slots(here, doctor) == slots[1:]


GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"+OK\r\n" * 50,
    b"$5\r\nhello\r\n" * 50,
    b":1\r\n" * 50,
    b"\x00\xff" * 99,
]


@pytest.mark.parametrize("nonsense", GARBAGE)
async def test_nonsense_is_not_believed(people: People, clinic: Clinic, valkey: ValkeyServer, nonsense: bytes) -> None:
    """Something else listens where Redis was: no error reaches a client, and no slot is invented."""
    doctor, patients = await clinic.doctor(), await people.patients(3)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 4)]
    valkey.stop()

    connections: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.read(4096):
            writer.write(nonsense)

    server = await asyncio.start_server(answer, "127.0.0.1", valkey.port)
    try:
        for place, patient in enumerate(patients):
            assert await open_slots(people.nobody.client, doctor) == slots[place:]
            await book(patient, slots[place])
            assert await open_slots(people.nobody.client, doctor) == slots[place + 1 :]
    finally:
        server.close()
        for connection in connections:  # the platform's pool keeps them open longer than this test lives
            connection.transport.abort()


KINDS = ["gone", "generation", "page", "state"]


@pytest.mark.parametrize("kind", KINDS)
async def test_single_keys_may_go(
    people: People, clinic: Clinic, valkey: ValkeyServer, resources: Resources, kind: str
) -> None:
    """As when memory is short: whichever keys Redis drops, before a booking or after it, no slot comes back."""
    doctor, patients = await clinic.doctor(), await people.patients(4)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 6)]
    client = people.nobody.client

    async def drop() -> None:
        async with redis.asyncio.Redis.from_url(valkey.url) as direct:
            keys = [key async for key in direct.scan_iter(f"telemed:search:*:{kind}*")]
            # A page may be gone already: this process gives from memory what it remembers of it.
            assert keys or kind == "page"
            for key in keys:
                await direct.delete(key)

    shelf = resources.part(SlotShelf)
    for place, patient in enumerate(patients):
        assert await open_slots(client, doctor) == slots[place:]
        await book(patient, slots[place])
        shelf._gone_here.clear()  # as any other process, which has only Redis to know of it
        await drop()
        assert await open_slots(client, doctor) == slots[place + 1 :]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> "Held":
    """Loads that keep their connection until the test lets them go."""
    held, read = Held(), PageLoads._read

    async def read_held(loads: PageLoads, find: Any, at_least: Any) -> Any:
        return await read(loads, partial(held.find, find), at_least)

    monkeypatch.setattr(PageLoads, "_read", read_held)
    return held


class Held:
    """Counts the loads that have a connection."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_go_on = asyncio.Event()

    async def find(self, find: Any, direct: Direct) -> Any:
        """Do what is asked, when it may be done."""
        self.begun += 1
        await self.may_go_on.wait()
        return await find(direct)


async def searches(client: httpx.AsyncClient, count: int) -> list[asyncio.Task[httpx.Response]]:
    """Begin so many searches of which no two are alike."""
    paths = [f"/booking/slots/search?max_fee_minor={number}" for number in range(count)]
    return [asyncio.create_task(client.get(path)) for path in paths]


async def test_searches_leave_connections_to_bookings(
    people: People, clinic: Clinic, valkey: ValkeyServer, held: Held, resources: Resources
) -> None:
    """However many loads are waiting: a booking waits for none of them."""
    doctor, patient = await clinic.doctor(), await people.patient()
    (slot,) = await clinic.slots(doctor)
    valkey.stop()
    waiting = await searches(people.nobody.client, 2 * resources.settings.database_pool_size)
    await until(lambda: held.begun == resources.settings.database_pool_size // 2)

    await book(patient, slot["id"])

    assert held.begun == resources.settings.database_pool_size // 2
    assert not any(search.done() for search in waiting)
    held.may_go_on.set()
    assert {(await search).status_code for search in waiting} == {200}


async def test_without_redis_no_more_searches_are_let_in_than_can_be_answered_soon(
    people: People, clinic: Clinic, valkey: ValkeyServer, held: Held, resources: Resources
) -> None:
    """The rest is told at once when to come again."""
    client, room = people.nobody.client, 10 * (resources.settings.database_pool_size // 2)
    search = resources.part(SlotSearch)
    assert search.room() is None
    valkey.stop()
    held.may_go_on.set()
    for number in range(OPENS_AFTER):
        assert search.room() is None, "one failure is no outage"
        assert (await client.get(f"/booking/slots/search?limit={number + 1}")).status_code == 200
    assert search.room() == room
    held.may_go_on.clear()

    waiting = await searches(client, room + 9)
    await until(lambda: sum(search.done() for search in waiting) == 9)
    refused = [search.result() for search in waiting if search.done()]
    assert {reply.status_code for reply in refused} == {503}
    assert all(2 <= int(reply.headers["retry-after"]) <= 5 for reply in refused)
    assert (await client.get("/booking/doctors")).status_code == 200, "what needs no Redis goes on"

    held.may_go_on.set()
    answered = [await search for search in waiting]
    assert sum(reply.status_code == 200 for reply in answered) == room


async def test_a_page_has_as_much_to_spare_as_it_is_asked_for(
    people: People, clinic: Clinic, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little at first; more once it is known to be asked for again; nothing where it is kept nowhere."""
    spares, load = [], PageLoads.load

    async def load_watched(loads: PageLoads, *args: Any, spare: int, **named: Any) -> Any:
        spares.append(spare)
        return await load(loads, *args, spare=spare, **named)

    monkeypatch.setattr(PageLoads, "load", load_watched)
    doctor, patients = await clinic.doctor(), await people.patients(6)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 48)]
    assert await open_slots(people.nobody.client, doctor) == slots[:20]
    assert spares == [5]

    for place, patient in enumerate(patients):
        await book(patient, slots[place])
        assert await open_slots(people.nobody.client, doctor) == slots[place + 1 :][:20]
    assert spares == [5, 20]

    await clinic.slots(doctor, starts_at=clinic.opens_at + timedelta(days=30))
    assert await open_slots(people.nobody.client, doctor) == slots[6:26]
    assert spares == [5, 20, 20]

    valkey.stop()
    assert await open_slots(people.nobody.client, doctor) == slots[6:26]
    assert spares == [5, 20, 20, 0]


async def test_when_redis_is_back_everybody_is_let_in_again(
    people: People, valkey: ValkeyServer, resources: Resources
) -> None:
    """The first search that finds it ends the bound."""
    client, search = people.nobody.client, resources.part(SlotSearch)
    port, password = valkey.port, valkey.password
    valkey.stop()
    for number in range(OPENS_AFTER):
        await client.get(f"/booking/slots/search?limit={number + 1}")
    assert search.room() is not None
    with servers.server_folder("telemed-valkey-") as (folder, guard):
        start_valkey(folder / "valkey", guard, port=port, password=password)
        numbers = count(OPENS_AFTER + 1)

        async def is_let_in() -> bool:
            await client.get(f"/booking/slots/search?max_fee_minor={next(numbers)}")
            return search.room() is None

        await until(is_let_in, pause_seconds=0.2)


async def test_a_load_whose_turn_does_not_come_says_so(
    people: People, valkey: ValkeyServer, held: Held, monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    """With 503, and nothing is kept from those who come after."""
    client, search = people.nobody.client, resources.part(SlotSearch)
    monkeypatch.setattr(search._loads, "_wait_at_most_seconds", 0.2)
    valkey.stop()
    waiting = await searches(client, resources.settings.database_pool_size // 2 + 3)
    await until(lambda: sum(search.done() for search in waiting) == 3)
    assert {search.result().status_code for search in waiting if search.done()} == {503}
    held.may_go_on.set()
    assert sum([(await search).status_code == 200 for search in waiting]) == len(waiting) - 3
    assert {(await search).status_code for search in await searches(client, 5)} == {200}


async def test_an_old_replica_brings_back_nothing_that_this_process_gave_away(
    people: People, clinic: Clinic, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    """Without Redis and without the primary, which alone could say so, it still knows what it did itself."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    before: list[Served[Any]] = []
    read = resources.reads.read_directly

    async def noted(find: Any, at_least: Any) -> Served[Any]:
        before.append(await read(find, at_least))
        return before[0]

    monkeypatch.setattr(resources.reads, "read_directly", noted)
    assert await open_slots(people.nobody.client, doctor) == slots
    await book(patient, slots[0])
    valkey.stop()

    async def as_before(_find: Any, _at_least: Any) -> Served[Any]:
        return Served(before[0].value, age=timedelta(seconds=3))

    monkeypatch.setattr(resources.reads, "read_directly", as_before)
    wanted = SearchSlots(doctor_id=UUID(doctor.id))
    body, age = await resources.part(SlotSearch).find(wanted, asked=b"")

    assert [slot["id"] for slot in json.loads(body)["items"]] == slots[1:]
    assert age == timedelta(seconds=3)
