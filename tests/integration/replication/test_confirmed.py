"""What is acknowledged is on a replica, where a commit waits for one: also what is acknowledged again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.integration.replication.conftest import Replication, Served
from tests.support.clinic import Clinic
from tests.support.people import People, User
from tests.support.waiting import until


@pytest.fixture
def more_settings() -> dict[str, object]:
    """A wait for replicas is given up after two seconds, so that what follows can be seen soon."""
    return {"database_command_timeout_seconds": 2.5}


async def test_a_success_is_replayed_when_a_replica_has_it(
    served: Served, clinic: Clinic, people: People, replication: Replication
) -> None:
    """The wait of the first is cut short on the server, which makes it visible on the primary alone.

    Were it acknowledged now, it would be lost with the primary.
    """
    doctor, patient = await clinic.doctor(), await people.patient()
    slot = (await clinic.slots(doctor, 1))[0]
    async with commits_wait(replication):
        for replica in replication.replicas:
            replica.freeze()
        first = await booked(patient, slot["id"])
        await cut_waits_short(replication)
        again = await booked(patient, slot["id"])
        for replica in replication.replicas:
            replica.thaw()

        async def is_acknowledged() -> bool:
            return (await booked(patient, slot["id"])).status_code == 201

        await until(is_acknowledged, within_seconds=15)
        replayed = await booked(patient, slot["id"])

    assert (first.status_code, first.json()["type"]) == (503, "outcome-unknown")
    assert again.status_code == 503, again.text
    assert (replayed.status_code, replayed.headers["Idempotency-Replayed"]) == (201, "true")


async def booked(patient: User, slot_id: str) -> httpx.Response:
    return await patient.post("/booking/slots/book", {"slot_id": slot_id, "reason": "Cough"}, key="the-only-one")


@asynccontextmanager
async def commits_wait(replication: Replication) -> AsyncIterator[None]:
    """Let commits wait for a replica, as in production (GUARDS of the twin)."""
    async with replication.primary.connect() as connection:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        await connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        async with replication.primary.connect() as connection:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            await connection.execute("SELECT pg_reload_conf()")


async def cut_waits_short(replication: Replication) -> None:
    """Do what the end of a connection or of the server does: the commit that waited is there, for the primary alone."""
    async with replication.primary.connect() as connection:

        async def nobody_waits() -> bool:
            ended = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            return bool(await connection.fetchval(ended) == 0)

        await until(nobody_waits, within_seconds=10)
