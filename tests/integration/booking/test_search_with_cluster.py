"""Search on a Redis cluster: right at every moment, whatever dies, is lost, or was not copied in time."""

import asyncio
import random
import time
from collections.abc import Iterator

import httpx
import pytest
import redis.asyncio
from tests import servers
from tests.support.clinic import Clinic
from tests.support.people import People, User
from tests.support.platform import Platform, TelemedProcess
from tests.support.redis_cluster import RedisCluster, own_cluster
from tests.support.redis_nodes import RedisNode
from tests.support.waiting import until

from telemed.booking.slots.keys import GONE_WINDOW
from telemed.kernel.cache.topology import slot_of
from telemed.kernel.resources import Resources
from telemed.local.valkey import ValkeyServer

SEED = 3


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """Six nodes for this test alone."""
    with own_cluster() as lent:
        yield lent


@pytest.fixture(params=["standalone", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | RedisCluster]:
    """One server, or a cluster, for this test alone."""
    with own_cluster() if request.param == "cluster" else servers.own_valkey() as lent:
        yield lent


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The platform of a test talks to the servers that it asked for."""
    name = "store" if "store" in request.fixturenames else "cluster"
    lent: ValkeyServer | RedisCluster = request.getfixturevalue(name)
    return lent.url


def scope_of(doctor: User) -> str:
    return f"doctor:{doctor.id.replace('-', '')}"


async def open_slots(client: httpx.AsyncClient, doctor: User) -> list[str]:
    reply = await client.get("/booking/slots/search", params={"doctor_id": doctor.id})
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


async def book(client: httpx.AsyncClient, patient: User, slot_id: str) -> None:
    headers = {"Authorization": f"Bearer {patient.token}"}
    reply = await client.post("/booking/slots/book", json={"slot_id": slot_id}, headers=headers)
    assert reply.status_code == 201, reply.text


async def test_every_command_names_keys_of_one_slot(
    people: People, clinic: Clinic, cluster: RedisCluster, resources: Resources
) -> None:
    """Publishing, searching, booking and cancelling, watched on every primary; nothing is sent on or refused."""
    seen: list[str] = []
    async with asyncio.TaskGroup() as watching:
        clients = [redis.asyncio.Redis(port=node.port, password=node.password) for node in cluster.primaries]
        ready = asyncio.Barrier(len(clients) + 1)

        async def watch(client: redis.asyncio.Redis) -> None:
            async with client.monitor() as monitor:
                await ready.wait()
                while True:
                    seen.append((await monitor.next_command())["command"])

        watchers = [watching.create_task(watch(client)) for client in clients]
        await ready.wait()
        doctor, (patient,) = await clinic.doctor(), await people.patients(1)
        slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
        for _ in range(3):
            assert await open_slots(people.nobody.client, doctor) == slots
        booked = await patient.post("/booking/slots/book", {"slot_id": slots[0]})
        assert await open_slots(people.nobody.client, doctor) == slots[1:]
        await patient.post(f"/booking/appointments/{booked.json()['id']}/cancel")
        assert await open_slots(people.nobody.client, doctor) == slots
        await until(lambda: any("gone" in command and "SADD" in command for command in seen))
        for watcher in watchers:
            watcher.cancel()
    for client in clients:
        await client.aclose()

    telling = [command.split(" ") for command in seen if "telemed:" in command]
    assert {words[0] for words in telling} == {"GET", "MGET", "SET", "SADD", "EXPIRE", "SISMEMBER", "SMISMEMBER"}
    for words in telling:
        assert len({slot_of(word) for word in words if word.startswith("telemed:")}) == 1, words
    assert resources.metrics.cache.labels("slot_search", "error").value == 0
    for node in cluster.nodes:
        errors = node.command("INFO", "errorstats")
        assert "MOVED" not in errors
        assert "CROSSSLOT" not in errors


async def test_a_note_that_died_with_its_primary_brings_no_slot_back(
    platform_processes: Platform, live_people: People, live_clinic: Clinic, cluster: RedisCluster
) -> None:
    """The replica has the page and not the note, and is promoted: another process still never shows the slot."""
    first, second = await platform_processes.serve("booking", "booking")
    doctor, (patient,) = await live_clinic.doctor(), await live_people.patients(1)
    slots = [slot["id"] for slot in await live_clinic.slots(doctor, 2)]
    primary = cluster.primary_of(f"{{{scope_of(doctor)}}}")
    heir = cluster.replica_of(primary)
    async with client_of(first) as here, client_of(second) as there:
        assert await open_slots(there, doctor) == slots
        assert await open_slots(here, doctor) == slots
        await until(lambda: key_count(heir) == key_count(primary))

        heir.freeze()
        # What the primary has sent already would still be read; what comes now never leaves it.
        primary.command("CLIENT", "KILL", "TYPE", "replica")
        await book(here, patient, slots[0])
        primary.kill()
        heir.thaw()

        looks = 0
        while cluster.role(heir) != "primary" or looks < 50:
            assert await open_slots(there, doctor) == slots[1:]
            assert await open_slots(here, doctor) == slots[1:]
            looks += 1 if cluster.role(heir) == "primary" else 0
    # Otherwise nothing was proved: the heir has what is needed to believe the page, and not the note.
    scope = f"telemed:search:{{{scope_of(doctor)}}}"
    window = int(time.time() // GONE_WINDOW.total_seconds())
    assert heir.command("EXISTS", f"{scope}:generation") == "1"
    for number in (window - 1, window, window + 1):  # of which there is nothing but the mark, if that
        assert heir.command("SCARD", f"{scope}:gone:{number}") in {"0", "1"}


def client_of(process: TelemedProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=process.url)


def key_count(node: RedisNode) -> str:
    return node.command("DBSIZE")


async def test_a_node_that_is_away_hides_no_slot_on_the_others(
    people: People, clinic: Clinic, cluster: RedisCluster, resources: Resources
) -> None:
    """What moving an appointment takes and what it gives back are told apart: where both can be heard, both are."""
    away = cluster.primary_of("{all}")
    while cluster.primary_of(f"{{{scope_of(doctor := await clinic.doctor())}}}") is away:
        pass
    slots = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    patient, client = await people.patient(), people.nobody.client
    booked = await patient.post("/booking/slots/book", {"slot_id": slots[0]})
    assert await open_slots(client, doctor) == slots[1:]

    cluster.replica_of(away).kill()
    away.kill()
    moved = await patient.post(f"/booking/appointments/{booked.json()['id']}/reschedule", {"slot_id": slots[1]})

    assert moved.status_code == 200
    assert await open_slots(client, doctor) == [slots[0], slots[2]]


async def test_losses_at_random_moments_bring_no_slot_back(
    platform_processes: Platform, live_people: People, live_clinic: Clinic, store: ValkeyServer | RedisCluster
) -> None:
    """Two processes, six patients who book at once, everything in Redis forgotten all the time in between."""
    first, second = await platform_processes.serve("booking", "booking")
    chance = random.Random(SEED)  # noqa: S311 - not a secret
    doctor, patients = await live_clinic.doctor(), await live_people.patients(6)
    slots = [slot["id"] for slot in await live_clinic.slots(doctor, 48)]
    acknowledged: set[str] = set()
    flushes = 0

    async with client_of(first) as here, client_of(second) as there, asyncio.TaskGroup() as work:

        async def forget() -> None:
            nonlocal flushes
            while len(acknowledged) < len(slots):
                await asyncio.to_thread(store.flush)
                flushes += 1
                await asyncio.sleep(chance.uniform(0, 0.02))

        async def claim(patient: User, share: list[str]) -> None:
            for slot_id in share:
                await book(chance.choice((here, there)), patient, slot_id)
                acknowledged.add(slot_id)

        work.create_task(forget())
        for place, patient in enumerate(patients):
            work.create_task(claim(patient, slots[place :: len(patients)]))
        looks = [work.create_task(look(client, doctor, acknowledged, len(slots))) for client in (here, there)]

    assert flushes >= 5
    assert all(look.result() >= 5 for look in looks)


async def look(client: httpx.AsyncClient, doctor: User, acknowledged: set[str], until_there_are: int) -> int:
    """Search all the time, and give the number of searches."""
    searches = 0
    while len(acknowledged) < until_there_are:
        known = set(acknowledged)
        assert known.isdisjoint(await open_slots(client, doctor))
        searches += 1
    return searches


async def test_all_nodes_dead_and_back_empty(
    people: People, clinic: Clinic, cluster: RedisCluster, resources: Resources
) -> None:
    """Bookings and search go on without a cluster, and use the new one when it is there."""
    doctor, patients = await clinic.doctor(), await people.patients(3)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 4)]
    client = people.nobody.client
    ports = [node.port for node in cluster.nodes]
    assert await open_slots(client, doctor) == slots

    cluster.kill_all()
    await book(client, patients[0], slots[0])
    assert await open_slots(client, doctor) == slots[1:]
    await asyncio.to_thread(cluster.rebuild, ports)
    await book(client, patients[1], slots[1])
    assert await open_slots(client, doctor) == slots[2:]

    async def is_cached() -> bool:
        hits = resources.metrics.cache.labels("slot_search", "miss").value
        assert await open_slots(client, doctor) == slots[2:]
        return bool(resources.metrics.cache.labels("slot_search", "miss").value > hits)

    await until(is_cached, within_seconds=15)
    await book(client, patients[2], slots[2])
    assert await open_slots(client, doctor) == slots[3:]
