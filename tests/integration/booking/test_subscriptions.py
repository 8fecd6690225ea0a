"""What booking does with events, many at once: in the worker's role, on real servers."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import redis.asyncio
from tests.support.databases import TestDatabase

from telemed.booking.service import SERVICE
from telemed.booking.slots import keys
from telemed.booking.slots.shelf import GoneSlot, SlotShelf
from telemed.booking.subscriptions import follow_role, note_gone, renew_pages
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.clock import ManualClock
from telemed.kernel.http.server import opened
from telemed.kernel.ids import uuid7
from telemed.kernel.outbox import OutboxEvent
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

NOTHING_LISTENS = "redis://127.0.0.1:1/0"


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database with no doctors but this test's."""
    return fresh_database


@pytest.fixture
def redis_url(redis_url: str, request: pytest.FixtureRequest) -> str:
    """The cache of this worker, or none where a test says so."""
    return getattr(request, "param", redis_url)


@pytest.fixture
async def worker(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """The resources of a worker process, with booking's parts."""
    async with (
        open_resources(settings, constraint_problems={}, clock=clock, database=settings.worker_database) as resources,
        opened([SERVICE], resources),
    ):
        yield resources


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Any]:
    """What Redis holds."""
    assert settings.redis_url is not None
    client = redis.asyncio.from_url(settings.redis_url.get_secret_value())
    yield client
    await client.aclose()


async def doctors(owner: asyncpg.Connection, count: int) -> list[UUID]:
    """Write as many entries, each of a specialization of its own."""
    ids = [uuid7() for _ in range(count)]
    for place, doctor_id in enumerate(ids):
        await owner.execute(
            "INSERT INTO booking.doctors VALUES ($1, 'D', $2, '{en}', 1, 'INR', 'UTC', NULL, 'r', true, now(), 1)",
            doctor_id,
            f"specialization {place}",
        )
    return ids


def event(at: datetime, **payload: object) -> OutboxEvent:
    words = {name: value if isinstance(value, int) else str(value) for name, value in payload.items()}
    return OutboxEvent(id=uuid7(), type="x", payload=words, traceparent="", occurred_at=at, available_at=at, attempts=1)


def bookings(at: datetime, *doctor_ids: UUID) -> list[OutboxEvent]:
    return [event(at, doctor_id=doctor_id, slot_id=uuid7(), slot_version=2) for doctor_id in doctor_ids]


async def noted(worker: Resources, store: Any, scope: str) -> set[str]:
    window = keys.window_of(worker.clock.now())
    return {member.decode() for member in await store.smembers(keys.gone_key(scope, window))}


async def test_slots_of_many_doctors_are_noted_at_once(
    worker: Resources, owner: asyncpg.Connection, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at the doctors and one write; each slot is gone from its doctor's pages."""
    ids = await doctors(owner, 3)
    told = bookings(worker.clock.now(), *ids, *ids, uuid7())  # the last one's doctor has no entry
    writes = []
    write_gone = SlotShelf.write_gone

    async def counted(self: SlotShelf, gone: list[GoneSlot]) -> None:
        writes.append(len(gone))
        await write_gone(self, gone)

    monkeypatch.setattr(SlotShelf, "write_gone", counted)
    await worker.db.transact_directly(lambda direct: note_gone(worker, direct, told))
    assert writes == [6]
    for doctor_id in ids:
        expected = {
            f"{UUID(event.payload['slot_id']).hex}/2" for event in told if event.payload["doctor_id"] == str(doctor_id)
        }
        assert await noted(worker, store, f"doctor:{doctor_id.hex}") == expected


async def test_events_of_doctors_without_an_entry_are_passed_over(worker: Resources) -> None:
    """Nobody can have seen their slots."""
    told = bookings(worker.clock.now(), uuid7(), uuid7())
    await worker.db.transact_directly(lambda direct: note_gone(worker, direct, told))
    await worker.db.transact_directly(lambda direct: renew_pages(worker, direct, told))


async def test_each_doctors_pages_are_renewed_once(
    worker: Resources, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events speak of them."""
    ids = await doctors(owner, 2)
    told = bookings(worker.clock.now(), *ids * 10, uuid7())
    renewed = []

    async def counted(_self: SlotShelf, doctor_id: UUID, *specializations: str) -> None:
        renewed.append((doctor_id, *specializations))

    monkeypatch.setattr(SlotShelf, "write_renewal", counted)
    await worker.db.transact_directly(lambda direct: renew_pages(worker, direct, told))
    assert sorted(renewed) == sorted((doctor_id, f"specialization {place}") for place, doctor_id in enumerate(ids))


@pytest.mark.parametrize("redis_url", [NOTHING_LISTENS], indirect=True)
@pytest.mark.parametrize("handle", [note_gone, renew_pages])
async def test_while_search_cannot_hear_events_come_again(
    worker: Resources, owner: asyncpg.Connection, handle: Any, clock: ManualClock
) -> None:
    """As long as one of them is younger than the oldest page that may be shown."""
    (doctor_id,) = await doctors(owner, 1)
    begun, page_lives = clock.now(), timedelta(seconds=worker.settings.search_stale_seconds)
    clock.advance(page_lives)
    old, young = bookings(begun, doctor_id), bookings(begun + timedelta(seconds=1), doctor_id)
    with pytest.raises(CacheUnavailable):
        await worker.db.transact_directly(lambda direct: handle(worker, direct, young + old))
    await worker.db.transact_directly(lambda direct: handle(worker, direct, old))


async def test_entries_follow_the_roles_of_their_users(worker: Resources, owner: asyncpg.Connection) -> None:
    """Each its own; who has no entry is passed over."""
    was_doctor, is_doctor = await doctors(owner, 2)
    await owner.execute("UPDATE booking.doctors SET is_listed = false WHERE id = $1", is_doctor)
    roles = {was_doctor: "patient", is_doctor: "doctor", uuid7(): "admin"}
    told = [event(worker.clock.now(), user_id=user_id, role=role) for user_id, role in roles.items()]
    await worker.db.transact_directly(lambda direct: follow_role(worker, direct, told))
    rows = await owner.fetch("SELECT id, is_listed FROM booking.doctors")
    assert {row["id"]: row["is_listed"] for row in rows} == {was_doctor: False, is_doctor: True}


@pytest.mark.parametrize("redis_url", [NOTHING_LISTENS], indirect=True)
async def test_who_is_no_doctor_any_more_is_told_to_search_again(
    worker: Resources, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """While it cannot hear, as long as a page from before may be shown; afterwards every entry follows all the same."""
    ids = await doctors(owner, 2)
    told = [event(clock.now(), user_id=user_id, role="patient") for user_id in ids]
    with pytest.raises(CacheUnavailable):
        await worker.db.transact_directly(lambda direct: follow_role(worker, direct, told))
    clock.advance(timedelta(seconds=worker.settings.search_stale_seconds))
    await worker.db.transact_directly(lambda direct: follow_role(worker, direct, told))
    assert {row["is_listed"] for row in await owner.fetch("SELECT is_listed FROM booking.doctors")} == {False}
