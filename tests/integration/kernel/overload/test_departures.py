"""Clients that leave: nobody works for them any more, except to finish a COMMIT."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from tests.support.clinic import Clinic
from tests.support.connections import Connection
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.platform import Platform
from tests.support.proxy import proxy_to, through
from tests.support.stalls import BOOK, bookings_of, open_slot, slot_locked
from tests.support.waiting import until

ENDS_WITHIN_SECONDS = 1.0


@pytest.mark.parametrize(
    ("leaves", "is_kept"),
    [(Connection.close, False), (Connection.close_sending_half, True)],
    ids=["whole, with its first request", "half, on a kept connection"],
)
async def test_a_client_that_leaves_frees_what_it_waits_for(
    platform_processes: Platform,
    connect: Callable[[int | None], Awaitable[Connection]],
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    owner: asyncpg.Connection,
    waiting: Callable[[], Awaitable[int]],
    leaves: Callable[[Connection], None],
    *,
    is_kept: bool,
) -> None:
    """Within a second the statement has ended in the server; it is counted as 499, and nobody complains."""
    (process,) = await platform_processes.serve("all")
    patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
    async with slot_locked(database.owner, slot_id):
        connection = await connect(process.port)
        if is_kept:
            assert (await connection.get("/auth/me", token=patient.token)).status == 200
        await connection.send("POST", BOOK, token=patient.token, body={"slot_id": slot_id})

        async def is_waiting() -> bool:
            return await waiting() == 1

        async def is_gone() -> bool:
            return await waiting() == 0

        await until(is_waiting)
        leaves(connection)
        await until(is_gone, within_seconds=ENDS_WITHIN_SECONDS)
        await until(lambda: bool(process.logged("request.abandoned")))
    connection.close()
    (abandoned,) = process.logged("request.abandoned")
    assert (abandoned["status"], abandoned["route"]) == ("499", BOOK)
    assert await bookings_of(owner, patient) == 0
    metrics = (await platform_processes.client.get("/metrics")).text
    counted = f'method="POST",route="{BOOK}",service="all",status="499",traffic="user"'
    assert f"telemed_http_requests_total{{{counted}}} 1.0" in metrics
    assert 'telemed_http_requests_in_flight{priority="critical"} 0.0' in metrics
    assert (await patient.post(BOOK, {"slot_id": slot_id})).status_code == 201
    assert not process.complaints()


async def test_a_client_that_leaves_during_commit_has_booked_once(
    platform_processes: Platform,
    connect: Callable[[int | None], Awaitable[Connection]],
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    owner: asyncpg.Connection,
) -> None:
    """The COMMIT is finished on its behalf; whoever repeats the key finds the booking."""
    async with proxy_to(database.servers.port) as proxy:
        (process,) = await platform_processes.serve("all", DATABASE_URL=through(proxy, database.services))
        patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
        proxy.only_with, proxy.freeze_after = b"booking.book_slot", b"COMMIT"
        connection = await connect(process.port)
        body, key = {"slot_id": slot_id}, {"Idempotency-Key": "k"}
        await connection.send("POST", BOOK, token=patient.token, body=body, headers=key)
        await until(lambda: proxy.is_frozen)
        connection.close()
        await asyncio.sleep(0.1)  # the process shall have noticed; either side of it must be right
        assert not process.logged("request.abandoned")  # it has not let go of the COMMIT
        proxy.freeze_after = None
        proxy.thaw()
        await until(lambda: bool(process.logged("request.abandoned")))
        again = await patient.post(BOOK, {"slot_id": slot_id}, key="k")
        assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
        assert await bookings_of(owner, patient) == 1
        assert not process.complaints()


async def test_a_client_that_leaves_between_requests_is_nobodys_business(
    platform_processes: Platform, connect: Callable[[int | None], Awaitable[Connection]], live_people: People
) -> None:
    """A kept connection that ends has abandoned nothing."""
    (process,) = await platform_processes.serve("all")
    patient = await live_people.patient()
    for _ in range(20):
        connection = await connect(process.port)
        assert (await connection.get("/auth/me", token=patient.token)).status == 200
        connection.close()
    assert (await patient.get("/auth/me")).status_code == 200
    assert not process.logged("request.abandoned")
    assert not process.complaints()
