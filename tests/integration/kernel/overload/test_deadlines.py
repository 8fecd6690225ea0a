"""Deadlines against real processes: what waits is ended where it waits, and what commits is never called undone."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.platform import Platform
from tests.support.proxy import proxy_to, through
from tests.support.stalls import BOOK, bookings_of, directory_locked, open_slot, slot_locked
from tests.support.waiting import until


def within(seconds: float) -> dict[str, str]:
    """Give the header that asks for an answer in so many seconds."""
    return {"X-Request-Deadline": f"{time.time() + seconds:.3f}"}


async def test_a_deadline_ends_the_wait_for_a_lock(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    owner: asyncpg.Connection,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """504, nothing was done, nobody waits in the server any more; and the key is free for another try."""
    (process,) = await platform_processes.serve("all")
    patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
    async with slot_locked(database.owner, slot_id):
        request = patient.post(BOOK, {"slot_id": slot_id}, key="k", headers=within(1.7))
        booking = asyncio.create_task(request)

        async def is_waiting() -> bool:
            return await waiting() == 1

        await until(is_waiting)
        reply = await booking
        assert (reply.status_code, reply.json()["type"]) == (504, "deadline-exceeded")

        async def is_gone() -> bool:
            return await waiting() == 0

        await until(is_gone, within_seconds=1.0)
    assert await bookings_of(owner, patient) == 0
    again = await patient.post(BOOK, {"slot_id": slot_id}, key="k")
    assert again.status_code == 201
    assert "Idempotency-Replayed" not in again.headers
    assert not process.complaints()


async def test_the_servers_own_deadline_ends_it_as_well(
    platform_processes: Platform,
    live_people: People,
    database: TestDatabase,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """Clients that ask for nothing, or for more, get no more than the server gives; nor does the statement."""
    await platform_processes.serve("all", REQUEST_DEADLINE_SECONDS="1")

    async def is_gone() -> bool:
        return await waiting() == 0

    async with directory_locked(database.owner):
        for headers in ({}, within(60)):
            reply = await live_people.nobody.get("/booking/doctors", headers=headers)
            assert (reply.status_code, reply.json()["type"]) == (504, "deadline-exceeded")
            await until(is_gone, within_seconds=2.0)  # by itself it would wait for ten


async def test_a_deadline_during_commit_leaves_the_outcome_to_the_key(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    owner: asyncpg.Connection,
) -> None:
    """The client is told in time although the COMMIT hangs; it is finished, once, and repeating the key gives it."""
    async with proxy_to(database.servers.port) as proxy:
        (process,) = await platform_processes.serve("all", DATABASE_URL=through(proxy, database.services))
        patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
        proxy.only_with, proxy.freeze_after = b"booking.book_slot", b"COMMIT"
        reply = await patient.post(BOOK, {"slot_id": slot_id}, key="k", headers=within(2.0))
        assert proxy.is_frozen  # the COMMIT still waits for its answer
        assert (reply.status_code, reply.json()["type"]) == (503, "outcome-unknown")
        proxy.freeze_after = None
        proxy.thaw()
        again = await patient.post(BOOK, {"slot_id": slot_id}, key="k")
        assert again.status_code == 201
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await bookings_of(owner, patient) == 1
        assert not process.complaints()


async def test_a_look_whose_trace_was_committing_is_simply_late(
    platform_processes: Platform, live_people: People, database: TestDatabase
) -> None:
    """A GET changes nothing that its client would have to find out about."""
    async with proxy_to(database.servers.port) as proxy:
        await platform_processes.serve("all", DATABASE_URL=through(proxy, database.services))
        patient = await live_people.patient()
        assert (await patient.get("/auth/me")).status_code == 200  # learns the statement's types, once a connection
        proxy.freeze_after = b"write_ending"  # which commits by itself
        reply = await patient.get("/auth/me", headers=within(2.0))
        assert proxy.is_frozen
        assert (reply.status_code, reply.json()["type"]) == (504, "deadline-exceeded")
        proxy.freeze_after = None
        proxy.thaw()
        assert (await patient.get("/auth/me")).status_code == 200


async def test_a_login_that_cannot_be_hashed_in_time_is_refused_before_it_waits(
    platform_processes: Platform, live_people: People
) -> None:
    """The threads are busy for longer than the client waits: no transaction, no hash, an early 503."""
    await platform_processes.serve("all", BCRYPT_COST="12", REQUEST_DEADLINE_SECONDS="120")

    async def log_in(number: int, **headers: str) -> httpx.Response:
        body = {"email": f"nobody-{number}@example.com", "password": "whatever it was"}
        return await live_people.nobody.post("/auth/login", body, headers=headers)

    assert (await log_in(0)).status_code == 401  # now it is known how long a hash takes
    waits = [asyncio.create_task(log_in(number)) for number in range(1, 12)]

    async def queue_is_long() -> bool:
        metrics = (await platform_processes.client.get("/metrics")).text
        (length,) = re.findall(r"^telemed_auth_password_queue_length (\S+)$", metrics, re.MULTILINE)
        return float(length) >= 8  # more than a second's work on any machine

    await until(queue_is_long)
    refused = await log_in(15, **within(1.0))
    assert (refused.status_code, refused.json()["type"]) == (503, "overloaded")
    assert {(await wait).status_code for wait in waits} == {401}


async def test_a_deadline_that_is_none_or_past_is_refused(platform_processes: Platform, live_people: People) -> None:
    """422 that names the header, 504 for one that has passed; before anything else is looked at."""
    await platform_processes.serve("all")
    wrong = await live_people.nobody.get("/auth/me", headers={"X-Request-Deadline": "tomorrow"})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "invalid-request")
    assert wrong.json()["errors"][0]["loc"] == ["header", "X-Request-Deadline"]
    late = await live_people.nobody.get("/auth/me", headers=within(-1))
    assert (late.status_code, late.json()["type"]) == (504, "deadline-exceeded")
    assert (await live_people.nobody.get("/auth/me", headers=within(5))).status_code == 401
