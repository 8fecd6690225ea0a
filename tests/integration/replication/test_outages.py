"""What still works while the primary or the replicas are gone, and how it comes back."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.integration.replication.conftest import Replication, Served
from tests.support.clinic import Clinic, doctor_card
from tests.support.people import People
from tests.support.waiting import until

from telemed.kernel.resources import Resources
from telemed.local import roles

# A healthy server is looked at once in so long while it is left alone.
LOOKS_WHILE_DOWN_SECONDS = 0.25


async def primary_given_up(resources: Resources) -> None:
    await until(lambda: resources.db.availability.is_down, within_seconds=15)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_without_a_primary_the_public_is_served_with_its_age(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources, how: str
) -> None:
    """Directory and search go on; what belongs to a patient does not, as no record of it could be kept."""
    doctor, patient = await clinic.doctor(), await people.patient()
    appointment = await clinic.appointment(patient, doctor)
    await replication.caught_up()
    if how == "killed":
        await replication.primary.kill()
    else:
        replication.primary.freeze()
    await primary_given_up(resources)

    for path in (f"/booking/doctors/{doctor.id}", "/booking/doctors", f"/booking/slots/search?doctor_id={doctor.id}"):
        reply = await people.nobody.get(path)
        assert reply.status_code == 200, reply.text
        assert int(reply.headers["Age"]) <= 30, "a state of a moment before the outage"

    begun = time.monotonic()
    look = await patient.get(f"/booking/appointments/{appointment['id']}")
    write = await doctor.put("/booking/doctors/me", doctor_card(bio="Later."))
    assert time.monotonic() - begun < 2.0, "a refusal must be fast"
    for refused in (look, write):
        assert (refused.status_code, refused.json()["type"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_writes_come_back_with_the_primary(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources, how: str
) -> None:
    """By themselves, in the same process."""
    doctor = await clinic.doctor()
    if how == "killed":
        await replication.primary.kill()
    else:
        replication.primary.freeze()
    await primary_given_up(resources)
    assert (await doctor.put("/booking/doctors/me", doctor_card())).status_code == 503
    if how == "killed":
        await replication.primary.start()
    else:
        replication.primary.thaw()

    async def is_written() -> bool:
        return (await doctor.put("/booking/doctors/me", doctor_card(bio="Back."))).status_code == 200

    await until(is_written, within_seconds=10)


# A setting that is in force at once, and one that only new connections have.
READ_ONLY = {"of the server": "ALTER SYSTEM", "of new connections": f"ALTER DATABASE {roles.DATABASE}"}


@pytest.mark.parametrize("whose", READ_ONLY)
async def test_a_primary_that_refuses_writes_is_left_alone(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources, whose: str
) -> None:
    """Until it takes them again: a look that found it well would let writes try it again and again."""
    doctor = await clinic.doctor()
    await replication.caught_up()

    async def put(bio: str) -> int:
        return (await doctor.put("/booking/doctors/me", doctor_card(bio=bio))).status_code

    async with replication.primary.connect() as connection:
        await connection.execute("SET default_transaction_read_only = off")  # of this connection, which undoes it
        await connection.execute(f"{READ_ONLY[whose]} SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        try:
            await resources.db._renew_connections()  # and not that of the looks, which lives for as long as it can
            await until(lambda: _is_refused(put, resources), within_seconds=15)
            for _ in range(12):
                assert resources.db.availability.is_down
                assert await put("Refused.") == 503
                await asyncio.sleep(LOOKS_WHILE_DOWN_SECONDS / 4)
            reply = await people.nobody.get(f"/booking/doctors/{doctor.id}")
            assert (reply.status_code, "Age" in reply.headers) == (200, True)
        finally:
            await connection.execute(f"{READ_ONLY[whose]} RESET default_transaction_read_only")
            await connection.execute("SELECT pg_reload_conf()")

    async def is_written() -> bool:
        return await put("Back.") == 200

    await until(is_written, within_seconds=10)


async def _is_refused(put: Callable[[str], Awaitable[int]], resources: Resources) -> bool:
    await put("Refused.")
    return resources.db.availability.is_down


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_without_replicas_the_primary_serves(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources, how: str
) -> None:
    """And reads return to the replicas when those do."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    for replica in replication.replicas:
        if how == "killed":
            await replica.kill()
        else:
            replica.freeze()
    for _ in range(8):
        reply = await people.nobody.get(f"/booking/doctors/{doctor.id}")
        assert (reply.status_code, "Age" in reply.headers) == (200, False)
    assert served.by("primary") == {"unavailable": 8}
    await replication.restore()
    before = served.by("replica").get("near", 0)

    async def a_replica_serves() -> bool:
        await people.nobody.get(f"/booking/doctors/{doctor.id}")
        return served.by("replica").get("near", 0) > before

    await until(a_replica_serves, within_seconds=10)


async def test_a_frozen_replica_costs_a_moment_once(
    served: Served, clinic: Clinic, people: People, replication: Replication, resources: Resources
) -> None:
    """Whoever meets it first waits a third of a second; soon nobody asks it any more."""
    doctor = await clinic.doctor()
    await replication.caught_up()
    replication.replicas[0].freeze()
    begun = time.monotonic()
    reply = await people.nobody.get(f"/booking/doctors/{doctor.id}")
    await people.nobody.get(f"/booking/doctors/{doctor.id}")
    assert reply.status_code == 200
    assert time.monotonic() - begun < 2.0
    assert served.by("primary") == {}, "the other replica is well"
