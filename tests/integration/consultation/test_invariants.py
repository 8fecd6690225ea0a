"""What must never be true of visits: a superuser makes it true, and the worker's query finds it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.consultation.conftest import MakeVisit, Visit
from tests.support.databases import TestDatabase
from tests.support.invariants import worker_of

from telemed.consultation.invariants import JOBS
from telemed.consultation.service import SERVICE
from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose guards may be taken away."""
    return fresh_database


@pytest.fixture
def clock() -> ManualClock:
    """The machine's time: ids are made by it, and the query finds them by theirs."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
async def worker(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """The resources of a worker process."""
    async with worker_of(settings, clock) as opened:
        yield opened


@pytest.fixture
async def superuser(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Somebody for whom no trigger fires, foreign keys included."""
    connection = await asyncpg.connect(database.superuser)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


@pytest.fixture
async def visit(make_visit: MakeVisit, prescription: dict[str, Any]) -> Visit:
    """A visit that was begun, and has a prescription."""
    made = await make_visit()
    assert (await made.doctor.post(f"{made.path}/start")).is_success
    assert (await made.doctor.post(f"{made.path}/prescription", prescription)).status_code == 201
    return made


async def unfounded(worker: Resources) -> float | None:
    """Look once, and give how many are shown."""
    for job in JOBS:
        assert await job.run(worker) == 0
    return worker.metrics.registry.get_sample_value(
        "telemed_invariant_violations", {"invariant": "prescription_unfounded"}
    )


def test_consultation_declares_what_the_worker_is_to_look_for() -> None:
    """The worker runs what the service declares."""
    assert set(JOBS) <= set(SERVICE.jobs)


async def test_an_honest_prescription_is_founded(visit: Visit, worker: Resources) -> None:
    """While the visit goes on, and when it is over."""
    assert await unfounded(worker) == 0
    assert (await visit.doctor.post(f"{visit.path}/complete")).is_success
    assert await unfounded(worker) == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE booking.appointments SET started_at = NULL WHERE id = $1",
        "UPDATE booking.appointments SET status = 'booked' WHERE id = $1",
        "UPDATE booking.appointments SET status = 'no_show' WHERE id = $1",
        "UPDATE booking.appointments SET status = 'cancelled' WHERE id = $1",
        "DELETE FROM booking.appointments WHERE id = $1",
        "UPDATE consultation.prescriptions SET consultation_id = gen_random_uuid() WHERE consultation_id = $1",
    ],
)
async def test_a_prescription_without_a_started_visit_is_found(
    change: str, visit: Visit, superuser: asyncpg.Connection, worker: Resources
) -> None:
    """Whatever it is that the visit lacks."""
    await superuser.execute(change, UUID(visit.id))
    assert await unfounded(worker) == 1


async def test_what_is_older_than_a_day_is_not_asked_for(
    visit: Visit, superuser: asyncpg.Connection, worker: Resources, clock: ManualClock
) -> None:
    """It was looked at hundreds of times; years of prescriptions are not read every few minutes."""
    await superuser.execute("UPDATE booking.appointments SET started_at = NULL WHERE id = $1", UUID(visit.id))
    clock.advance(timedelta(days=1, minutes=1))
    assert await unfounded(worker) == 0
