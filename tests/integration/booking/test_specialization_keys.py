"""An open slot has a copy of its doctor's specialization, for an index of search: whoever changes either."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.servers import TestServers
from tests.support.clinic import Clinic, doctor_card
from tests.support.databases import TestDatabase, unused_name
from tests.support.people import Caller, People, User
from tests.support.stalls import waiting_for_locks
from tests.support.waiting import until

from telemed.migrations.pieces import do_in_pieces
from telemed.migrations.runner import migrate

OLD, NEW = "Nephrology", "Unani Medicine"


@asynccontextmanager
async def connected(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.owner)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def others(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection for whoever comes between."""
    async with connected(database) as connection:
        yield connection


async def keys(owner: asyncpg.Connection, doctor: User) -> list[str | None]:
    rows = await owner.fetch(
        "SELECT specialization_key FROM booking.slots WHERE doctor_id = $1 ORDER BY starts_at", UUID(doctor.id)
    )
    return [row["specialization_key"] for row in rows]


async def found(caller: Caller, doctor: User, specialization: str) -> list[str]:
    reply = await caller.get("/booking/slots/search", specialization=specialization)
    assert reply.status_code == 200, reply.text
    return [slot["id"] for slot in reply.json()["items"] if slot["doctor"]["id"] == doctor.id]


async def test_slots_follow_their_doctor(people: People, clinic: Clinic, owner: asyncpg.Connection) -> None:
    """Those that are open at once, those that are booked when they open again; whatever the letters' case."""
    suffix = uuid4().hex[:12]
    old, new = f"{OLD} {suffix}", f"{NEW} {suffix}"
    doctor, patient = await clinic.doctor(specialization=old), await people.patient()
    booked, left = await clinic.slots(doctor, 2)
    appointment = await patient.post("/booking/slots/book", {"slot_id": booked["id"]})
    assert await found(patient, doctor, old.upper()) == [left["id"]]

    changed = await doctor.put("/booking/doctors/me", doctor_card(specialization=new))
    assert changed.is_success, changed.text
    assert await found(patient, doctor, old) == []
    assert await found(patient, doctor, new.upper()) == [left["id"]]

    cancelled = await patient.post(f"/booking/appointments/{appointment.json()['id']}/cancel")
    assert cancelled.is_success, cancelled.text
    assert await found(patient, doctor, old) == []
    assert await found(patient, doctor, new) == [booked["id"], left["id"]]
    assert await keys(owner, doctor) == [new.lower()] * 2


async def publish(connection: asyncpg.Connection, doctor: User, slot: dict[str, Any]) -> None:
    """Write a slot as whatever version of the code would, past all the locks that this one takes."""
    await connection.execute(
        """
        INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)
        SELECT $1, doctor_id, starts_at + interval '1 day', ends_at + interval '1 day', 'open', 1
        FROM booking.slots WHERE id = $2 AND doctor_id = $3
        """,
        *(uuid4(), UUID(slot["id"]), UUID(doctor.id)),
    )


async def reopen(connection: asyncpg.Connection, doctor: User, slot: dict[str, Any]) -> None:
    await connection.execute(
        "UPDATE booking.slots SET status = 'open' WHERE id = $1 AND doctor_id = $2", UUID(slot["id"]), UUID(doctor.id)
    )


async def specialize(connection: asyncpg.Connection, doctor: User, _slot: object) -> None:
    await connection.execute("UPDATE booking.doctors SET specialization = $2 WHERE id = $1", UUID(doctor.id), NEW)


@pytest.mark.parametrize("opens", [publish, reopen], ids=lambda opens: opens.__name__)
@pytest.mark.parametrize("is_first", [True, False], ids=["slot first", "entry first"])
async def test_a_slot_that_opens_while_the_entry_changes_follows_it(
    opens: Any, is_first: bool, clinic: Clinic, owner: asyncpg.Connection, others: asyncpg.Connection
) -> None:
    """Whoever comes second waits for the first, and sees what it did."""
    doctor = await clinic.doctor(specialization=OLD)
    (slot,) = await clinic.slots(doctor)
    if opens is reopen:
        await owner.execute("UPDATE booking.slots SET status = 'booked' WHERE id = $1", UUID(slot["id"]))
    first, second = (opens, specialize) if is_first else (specialize, opens)

    async with owner.transaction():
        await first(owner, doctor, slot)
        coming = asyncio.ensure_future(second(others, doctor, slot))
        await stuck(owner, coming)
    await coming

    assert set(await keys(owner, doctor)) == {NEW.lower()}


async def stuck(owner: asyncpg.Connection, coming: "asyncio.Future[None]") -> None:
    async def waits() -> bool:
        assert not coming.done(), "nobody was waited for"
        return await waiting_for_locks(owner) > 0

    await until(waits)


async def test_an_entry_that_changes_otherwise_touches_no_slot(clinic: Clinic, owner: asyncpg.Connection) -> None:
    """A fee, or a capital letter: nobody who books waits for that."""
    doctor = await clinic.doctor(specialization=OLD)
    await clinic.slots(doctor, 2)
    written = "SELECT array_agg(xmin::text ORDER BY id) FROM booking.slots WHERE doctor_id = $1"
    before = await owner.fetchval(written, UUID(doctor.id))

    for card in (doctor_card(specialization=OLD, bio="Another."), doctor_card(specialization=OLD.upper())):
        assert (await doctor.put("/booking/doctors/me", card)).is_success

    assert await owner.fetchval(written, UUID(doctor.id)) == before


@pytest.fixture
def old_database(test_servers: TestServers) -> Iterator[TestDatabase]:
    """A database of the release before."""
    made = TestDatabase(test_servers, unused_name("old"))
    test_servers.create_database(made.name)
    migrate(made.owner, "0012")
    yield made
    test_servers.drop_database(made.name)


@pytest.fixture
async def old(old_database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to that database."""
    async with connected(old_database) as connection:
        yield connection


async def fill(old: asyncpg.Connection, *slots: tuple[int, str]) -> None:
    """Publish slots of one doctor, each with the day on which it begins, counted from today, and its status."""
    doctor_id = uuid4()
    await old.execute(
        """
        INSERT INTO booking.doctors (id, full_name, specialization, languages, fee_minor, fee_currency, time_zone,
                                     registration_number, is_listed, listed_at, version)
        VALUES ($1, 'Doctor', 'Nephrology', '{en}', 1, 'INR', 'UTC', 'R', true, now(), 1)
        """,
        doctor_id,
    )
    await old.executemany(
        """
        INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)
        SELECT gen_random_uuid(), $1, begins, begins + interval '1 hour', $3, 1
        FROM (VALUES (now() + $2::integer * interval '1 day')) AS times (begins)
        """,
        [(doctor_id, day, status) for day, status in slots],
    )


KEYS = "SELECT status, specialization_key FROM booking.slots ORDER BY starts_at"


async def test_slots_of_the_release_before_get_theirs(old_database: TestDatabase, old: asyncpg.Connection) -> None:
    """Those that can be booked; the others when they open again."""
    await fill(old, (-1, "open"), (1, "open"), (2, "booked"), (3, "withdrawn"))

    await asyncio.to_thread(migrate, old_database.owner)

    assert await old.fetchval(
        "SELECT bool_and(s.xmin <> v.xmin) FROM booking.slots AS s, alembic_version AS v WHERE specialization_key <> ''"
    ), "not in pieces: in the transaction of the revision"
    assert [tuple(row) for row in await old.fetch(KEYS)] == [
        ("open", None),
        ("open", "nephrology"),
        ("booked", None),
        ("withdrawn", None),
    ]
    await old.execute("UPDATE booking.slots SET status = 'open' WHERE status = 'booked'")
    assert (await old.fetch(KEYS))[2]["specialization_key"] == "nephrology"


async def test_they_get_them_in_pieces(old_database: TestDatabase, old: asyncpg.Connection) -> None:
    """Each for good, and past those that somebody has in hand: these come last, with the revision."""
    await fill(old, *((day, "open") for day in range(1, 8)))
    await asyncio.to_thread(migrate, old_database.owner, "0014")
    held = await old.fetchval("SELECT id FROM booking.slots ORDER BY starts_at LIMIT 1")
    step = import_module("telemed.migrations.versions.0015_every_open_slot_has_its_copy")
    pieces = step.IN_PIECES.replace("LIMIT 1000", "LIMIT 2")
    assert pieces != step.IN_PIECES

    async with connected(old_database) as somebody, somebody.transaction():
        await somebody.execute("SELECT FROM booking.slots WHERE id = $1 FOR UPDATE", held)
        await asyncio.to_thread(do_in_pieces, old_database.owner, "0013", pieces)
        assert {row["specialization_key"] for row in await old.fetch(KEYS)} == {None}, "at another revision"
        await asyncio.to_thread(do_in_pieces, old_database.owner, "0014", pieces)
        done = await old.fetch("SELECT id, xmin::text FROM booking.slots WHERE specialization_key = 'nephrology'")

    assert len(done) == 6
    assert held not in {row["id"] for row in done}
    assert len({row["xmin"] for row in done}) == 3, "each piece is a transaction"
    await asyncio.to_thread(migrate, old_database.owner)
    assert [row["specialization_key"] for row in await old.fetch(KEYS)] == ["nephrology"] * 7


async def test_nobody_is_shut_out_while_the_index_is_built(old_database: TestDatabase, old: asyncpg.Connection) -> None:
    """The new column shuts everybody out until its transaction ends: the index must have another."""
    await asyncio.to_thread(migrate, old_database.owner)
    made_by = await old.fetchrow(
        """
        SELECT (SELECT xmin::text FROM pg_trigger WHERE tgname = 'slots_specialization_of_new') AS column_and_triggers,
               (SELECT i.xmin::text FROM pg_index AS i
                WHERE i.indexrelid = 'booking.slots_search_by_specialization'::regclass) AS index
        """
    )
    assert made_by is not None
    assert made_by["column_and_triggers"] != made_by["index"]
