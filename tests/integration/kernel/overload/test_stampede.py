"""More requests than a process works on: the urgent ones get in, the others are told at once to come back."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
from tests.support.clinic import Clinic
from tests.support.connections import Connection
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.platform import Platform
from tests.support.stalls import BOOK, directory_locked, open_slot
from tests.support.waiting import until

LIMIT = 10
BROWSING, NORMAL = 6, 8  # their shares of it


async def test_a_stampede_of_readers_leaves_room_for_who_books(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """Browsing is refused early, logins and own reads later, a booking not at all; probes answer all the while."""
    (process,) = await platform_processes.serve("all", ADMISSION_LIMIT=str(LIMIT))
    patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
    async with directory_locked(database.owner):
        readers = [asyncio.create_task(live_people.nobody.get("/booking/doctors")) for _ in range(30)]
        await until(lambda: sum(reader.done() for reader in readers) == len(readers) - BROWSING)
        refused = [reader.result() for reader in readers if reader.done()]
        assert {(reply.status_code, reply.json()["type"]) for reply in refused} == {(503, "overloaded")}
        assert len({reply.headers["Retry-After"] for reply in refused}) > 1
        assert all(reply.headers["X-Request-ID"] for reply in refused)

        # Two more of those who are not only browsing, held up by the same lock.
        doctor = await live_people.doctor()
        card = {"specialization": "x", "languages": ["en"], "fee": {"amount_minor": 1, "currency": "INR"}}
        card |= {"time_zone": "Asia/Kolkata", "bio": "b", "registration_number": "r"}
        others = [asyncio.create_task(doctor.put("/booking/doctors/me", card)) for _ in range(5)]
        await until(lambda: sum(other.done() for other in others) == len(others) - (NORMAL - BROWSING))
        assert {other.result().status_code for other in others if other.done()} == {503}
        assert (await patient.get("/auth/me")).status_code == 503

        booking = asyncio.create_task(patient.post(BOOK, {"slot_id": slot_id}))

        async def books() -> bool:
            return await waiting() == NORMAL + 1

        await until(books)
        async with httpx.AsyncClient(base_url=process.url) as probe:
            for path in ("/livez", "/readyz", "/metrics"):
                assert (await probe.get(path)).status_code == 200
            metrics = (await probe.get("/metrics")).text
    assert (await booking).status_code == 201
    outcomes = Counter([(await reader).status_code for reader in readers])
    assert outcomes == {200: BROWSING, 503: len(readers) - BROWSING}
    assert {(await other).status_code for other in others} <= {200, 409, 503}
    assert 'telemed_http_requests_in_flight{priority="browsing"} 6.0' in metrics
    assert 'telemed_http_requests_in_flight{priority="critical"} 1.0' in metrics
    assert f'telemed_http_requests_refused_total{{priority="browsing",reason="full"}} {30 - BROWSING}.0' in metrics
    counted = 'method="GET",route="/booking/doctors",service="all",status="503",traffic="user"'
    assert f"telemed_http_requests_total{{{counted}}} {30 - BROWSING}.0" in metrics
    assert (await patient.get("/auth/me")).status_code == 200  # every place was given back
    assert len(process.logged("request.answered")) < 40  # the refused are counted, and not logged


async def test_a_flood_of_searches_is_refused_on_connections_that_stay(
    platform_processes: Platform,
    live_people: People,
    database: TestDatabase,
    connect: Callable[[int | None], Awaitable[Connection]],
) -> None:
    """Hundreds, most of them before they are parsed: each is told to come back, counted, and let in afterwards."""
    (process,) = await platform_processes.serve("all", ADMISSION_LIMIT=str(LIMIT))
    search, ours = "/booking/slots/search?limit=1", {"X-Request-ID": "mine-1"}
    connections = [await connect(process.port) for _ in range(5)]
    async with directory_locked(database.owner):
        readers = [asyncio.create_task(live_people.nobody.get("/booking/doctors")) for _ in range(BROWSING + 1)]
        await until(lambda: any(reader.done() for reader in readers))  # the one for whom there is no place
        replies = [await connection.get(search, headers=ours) for _ in range(60) for connection in connections]
        assert {reply.status for reply in replies} == {503}
        assert {reply.headers["x-request-id"] for reply in replies} == {"mine-1"}
        assert {reply.headers["retry-after"] for reply in replies} == {"2", "3", "4", "5"}
        assert len({reply.json()["trace_id"] for reply in replies}) == len(replies)
    await asyncio.gather(*readers)

    assert [(await connection.get(search)).status for connection in connections] == [200] * len(connections)
    metrics = (await connections[0].get("/metrics")).body.decode()
    counted = 'method="GET",route="/booking/slots/search",service="all",status="503",traffic="user"'
    assert f"telemed_http_requests_total{{{counted}}} {len(replies)}.0" in metrics
    assert f'requests_refused_total{{priority="browsing",reason="full"}} {len(replies) + 1}.0' in metrics
    assert not process.complaints()


async def test_who_drips_a_body_in_holds_no_place(
    platform_processes: Platform, connect: Callable[[int | None], Awaitable[Connection]], live_people: People
) -> None:
    """Twenty that have sent half of a login: the limit of ten is free for others."""
    (process,) = await platform_processes.serve("all", ADMISSION_LIMIT=str(LIMIT))
    patient = await live_people.patient()
    slow = [await connect(process.port) for _ in range(2 * LIMIT)]
    try:
        for connection in slow:
            await connection.send("POST", "/auth/login", headers={"Content-Length": "100"})
        assert (await patient.get("/auth/me")).status_code == 200
    finally:
        for connection in slow:
            connection.close()


async def test_a_refusal_comes_before_the_body_is_read(
    platform_processes: Platform,
    connect: Callable[[int | None], Awaitable[Connection]],
    live_people: People,
    database: TestDatabase,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """A client learns it from the headers that it has sent; what it still sends spoils nothing on the connection."""
    (process,) = await platform_processes.serve("all", ADMISSION_LIMIT="1")
    patient = await live_people.patient()
    async with directory_locked(database.owner):
        reader = asyncio.create_task(live_people.nobody.get("/booking/doctors"))

        async def holds() -> bool:
            return await waiting() == 1

        await until(holds)
        connection = await connect(process.port)
        await connection.send("POST", BOOK, token=patient.token, headers={"Content-Length": "2"})
        reply = await connection.reply()
        assert (reply.status, reply.json()["type"]) == (503, "overloaded")
        assert not reply.closes
    assert (await reader).status_code == 200
    await connection.send("GET", "/auth/me")  # its first two bytes are the end of the body before
    connection.close()
