"""What must never be true of appointments: a superuser makes it true, and the worker's queries find it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.events import LoggedEvents
from tests.support.invariants import NAMES, violations, worker_of
from tests.support.people import People, User

from telemed.booking.service import SERVICE
from telemed.kernel.clock import ManualClock
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings
from telemed.local.demo.seed import seed

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose constraints may be dropped."""
    return fresh_database


@pytest.fixture
def clock() -> ManualClock:
    """The machine's time, to the hour: ids are made by it, and the queries find them by theirs."""
    return ManualClock(datetime.now(UTC).replace(minute=0, second=0, microsecond=0))


@pytest.fixture
async def worker(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """The resources of a worker process."""
    async with worker_of(settings, clock) as opened:
        yield opened


@pytest.fixture
async def superuser(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Somebody for whom there is no wall: the constraints and their indexes are gone, and no trigger fires."""
    connection = await asyncpg.connect(database.superuser)
    for table, names in (
        ("appointments", ("appointments_doctor_no_overlap", "appointments_patient_no_overlap")),
        ("slots", ("slots_no_overlap",)),
    ):
        for name in names:
            await connection.execute(f"ALTER TABLE booking.{table} DROP CONSTRAINT {name}")
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


class Forger:
    """Puts appointments with their slots into the database, as if they had been booked; they agree with each other."""

    def __init__(self, superuser: asyncpg.Connection, opens_at: datetime) -> None:
        self._superuser = superuser
        self._opens_at = opens_at

    async def book(
        self, begin: timedelta, end: timedelta, *, doctor: UUID | None = None, patient: UUID | None = None, **more: Any
    ) -> UUID:
        """Make one from and to so long after the clinic opens; gives its id."""
        slot_id, appointment_id = uuid7(), uuid7()
        doctor, starts_at, ends_at = doctor or uuid7(), self._opens_at + begin, self._opens_at + end
        status: str = more.get("status", "booked")
        slot_status = "open" if status in {"cancelled", "rescheduled"} else "booked"
        await self._superuser.execute(
            "INSERT INTO booking.slots VALUES ($1, $2, $3, $4, $5, 1)", slot_id, doctor, starts_at, ends_at, slot_status
        )
        await self._superuser.execute(
            "INSERT INTO booking.appointments (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at,"
            " created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)",
            appointment_id,
            slot_id,
            doctor,
            patient or uuid7(),
            status,
            starts_at,
            ends_at,
            self._opens_at - timedelta(days=40),  # of so long ago that nothing is asked about its record and event
        )
        return appointment_id


@pytest.fixture
def forger(superuser: asyncpg.Connection, clock: ManualClock) -> Forger:
    """Forges appointments of tomorrow."""
    return Forger(superuser, clock.now() + timedelta(days=1))


def test_booking_declares_what_the_worker_is_to_look_for() -> None:
    """Often enough that the alarm for looks that are missing does not go off."""
    jobs = {job.name: job.every for job in SERVICE.jobs}
    assert {"invariants-booking", "invariants-booking-told"} <= jobs.keys()
    assert max(jobs.values()) <= timedelta(minutes=10)


class TestHealthy:
    """Nothing is found where nothing is wrong, whatever goes on."""

    async def test_the_demo_violates_nothing(
        self, resources: Resources, settings: Settings, worker: Resources, clock: ManualClock, events: LoggedEvents
    ) -> None:
        """Weeks of bookings, cancellations, moves and visits."""

        assert await resources.db.transact(seed, settings, clock, lambda *_: None)
        assert await violations(worker) == {}
        assert not events.named("invariant.violated")

    async def test_a_race_violates_nothing_at_any_moment(
        self, people: People, clinic: Clinic, worker: Resources, owner: asyncpg.Connection
    ) -> None:
        """Looks go on while bookings, cancellations and moves commit; each sees whole transactions only."""
        doctor = await clinic.doctor()
        slots = await clinic.slots(doctor, 18)
        patients = await people.patients(24)
        looks = 0

        async def act(place: int, patient: User) -> None:
            one, other = slots[place % 12]["id"], slots[(place + 6) % 18]["id"]
            booked = await patient.post("/booking/slots/book", {"slot_id": one})
            if booked.status_code != 201:
                return
            path = f"/booking/appointments/{booked.json()['id']}"
            await patient.post(f"{path}/reschedule", {"slot_id": other})
            if place % 2:
                await patient.post(f"{path}/cancel")

        acts = asyncio.gather(*(act(place, patient) for place, patient in enumerate(patients)))
        while not acts.done() or not looks:
            assert await violations(worker) == {}
            looks += 1
        await acts
        assert await violations(worker) == {}
        assert await owner.fetchval("SELECT count(*) FROM booking.appointments") > 12, "some were moved"

    async def test_neighbours_and_those_who_left_do_not_overlap(self, forger: Forger, worker: Resources) -> None:
        """One ends when the next begins; cancelled and moved ones take up nobody's time; another doctor has another."""
        doctor, patient = uuid7(), uuid7()
        await forger.book(HOUR, 2 * HOUR, doctor=doctor, patient=patient)
        await forger.book(2 * HOUR, 3 * HOUR, doctor=doctor, patient=patient)
        for status in ("cancelled", "rescheduled"):
            await forger.book(HOUR, 3 * HOUR, doctor=doctor, patient=patient, status=status)
        await forger.book(HOUR, 2 * HOUR)
        assert await violations(worker) == {}


@pytest.mark.parametrize("who", ["doctor", "patient"])
class TestDoubleBooked:
    """One person at two appointments at once."""

    @pytest.mark.parametrize(
        ("begin", "end", "status"),
        [
            (HOUR, 2 * HOUR, "booked"),
            (2 * HOUR - MINUTE, 3 * HOUR, "in_progress"),
            (HOUR / 2, HOUR + MINUTE, "completed"),
            (HOUR + MINUTE, HOUR + 2 * MINUTE, "no_show"),
        ],
        ids=["the same time", "its end", "its beginning", "within"],
    )
    async def test_every_overlap_in_every_state_is_found(
        self, who: str, begin: timedelta, end: timedelta, status: str, forger: Forger, worker: Resources
    ) -> None:
        """However short it is."""
        person = uuid7()
        await forger.book(HOUR, 2 * HOUR, **{who: person})
        await forger.book(begin, end, status=status, **{who: person})
        assert await violations(worker) == {f"{who}_double_booked": 1}

    async def test_an_overlap_with_one_that_is_no_neighbour_is_found(
        self, who: str, forger: Forger, worker: Resources, events: LoggedEvents
    ) -> None:
        """A long one covers two that do not touch each other; the log names the two."""
        person = uuid7()
        await forger.book(HOUR, 9 * HOUR, **{who: person})
        inner = [await forger.book(place * HOUR, (place + 1) * HOUR, **{who: person}) for place in (2, 6)]
        assert await violations(worker) == {f"{who}_double_booked": 2}
        (event,) = events.named("invariant.violated")
        assert (event["invariant"], event["count"], event["level"]) == (f"{who}_double_booked", 2, "error")
        assert sorted(event["ids"]) == sorted(str(one) for one in inner)

    async def test_an_overlap_is_found_once_wherever_it_lies(self, who: str, forger: Forger, worker: Resources) -> None:
        """The days ahead are looked at in pieces; the queries of two pieces meet nowhere and miss nothing."""
        person, ends = uuid7(), [timedelta(days=days) for days in (1, 3, 5, 59, 61, 400)]
        for end in ends:
            for begin in (end - HOUR, end - MINUTE):  # the one ends at the edge of a piece, the other beyond it
                await forger.book(begin, begin + HOUR, **{who: person})
        assert await violations(worker) == {f"{who}_double_booked": len(ends)}

    async def test_what_was_over_two_days_ago_is_not_asked_for(
        self, who: str, forger: Forger, worker: Resources
    ) -> None:
        """Years of history are not read every minute."""
        for _ in range(2):
            await forger.book(timedelta(days=-4), timedelta(days=-4) + HOUR, **{who: UUID(int=7)})
        assert await violations(worker) == {}


class TestSlotDisagrees:
    """A slot is booked exactly if one appointment occupies it, with the same doctor and at the same time."""

    @pytest.mark.parametrize(
        ("change", "count"),
        [
            ("UPDATE booking.slots SET status = 'open'", 1),
            ("UPDATE booking.slots SET status = 'withdrawn'", 1),
            ("DELETE FROM booking.slots", 1),
            ("DELETE FROM booking.appointments", 1),
            ("UPDATE booking.appointments SET status = 'cancelled'", 1),
            ("UPDATE booking.appointments SET doctor_id = gen_random_uuid()", 1),
            ("UPDATE booking.slots SET ends_at = ends_at + interval '1 minute'", 1),
            ("UPDATE booking.appointments SET starts_at = starts_at - interval '1 minute'", 1),
            # Both sides stand alone then.
            ("UPDATE booking.appointments SET slot_id = gen_random_uuid()", 2),
        ],
    )
    async def test_either_side_may_be_wrong(
        self, change: str, count: int, forger: Forger, superuser: asyncpg.Connection, worker: Resources
    ) -> None:
        """Each is found; as it was, nothing is."""
        await forger.book(HOUR, 2 * HOUR)
        assert await violations(worker) == {}
        await superuser.execute(change)
        assert await violations(worker) == {"slot_disagrees": count}

    async def test_two_appointments_on_one_slot_are_found(
        self, forger: Forger, superuser: asyncpg.Connection, worker: Resources
    ) -> None:
        """As their doctor's overlap."""
        first = await forger.book(HOUR, 2 * HOUR)
        await superuser.execute(
            """
            INSERT INTO booking.appointments
                (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, created_at, version)
            SELECT $2, slot_id, doctor_id, gen_random_uuid(), 'booked', starts_at, ends_at, created_at, 1
            FROM booking.appointments WHERE id = $1
            """,
            first,
            uuid7(),
        )
        assert await violations(worker) == {"doctor_double_booked": 1}


class TestUntold:
    """Every appointment has the record and the event that were written with it."""

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ("DELETE FROM audit.records WHERE action = 'appointment.book'", "booking_unrecorded"),
            ("UPDATE audit.records SET entity_id = gen_random_uuid()", "booking_unrecorded"),
            ("UPDATE audit.records SET outcome = 'denied'", "booking_unrecorded"),
            ("UPDATE audit.records SET action = 'appointment.read'", "booking_unrecorded"),
            ("DELETE FROM platform.outbox WHERE type = 'appointment.booked'", "booking_unannounced"),
            ("UPDATE platform.outbox SET payload = '{}'", "booking_unannounced"),
            ("UPDATE platform.outbox SET type = 'slots.published'", "booking_unannounced"),
        ],
    )
    async def test_what_is_missing_is_found(
        self,
        change: str,
        name: str,
        clinic: Clinic,
        people: People,
        superuser: asyncpg.Connection,
        worker: Resources,
        events: LoggedEvents,
    ) -> None:
        """By the appointment's id."""
        appointment = await clinic.appointment(await people.patient())
        assert await violations(worker) == {}
        await superuser.execute(change)
        assert await violations(worker) == {name: 1}
        assert events.named("invariant.violated")[-1]["ids"] == [appointment["id"]]

    async def test_of_many_a_few_are_named(
        self,
        clinic: Clinic,
        people: People,
        superuser: asyncpg.Connection,
        worker: Resources,
        events: LoggedEvents,
    ) -> None:
        """The number says how many there are; the log names five, by their ids and nothing else."""
        doctor = await clinic.doctor()
        for place, patient in enumerate(await people.patients(7)):
            await clinic.appointment(patient, doctor, starts_at=clinic.opens_at + place * HOUR)
        await superuser.execute("DELETE FROM platform.outbox")
        assert await violations(worker) == {"booking_unannounced": 7}
        (event,) = events.named("invariant.violated")
        assert (event["count"], len(event["ids"])) == (7, 5)
        assert set(event) <= {"event", "invariant", "count", "ids", "level", "request_id", "trace_id"}

    async def test_what_is_older_than_a_day_is_not_asked_for(
        self, clinic: Clinic, people: People, superuser: asyncpg.Connection, worker: Resources, clock: ManualClock
    ) -> None:
        """Its month may be retired some day, and it was looked at hundreds of times."""
        await clinic.appointment(await people.patient())
        await superuser.execute("DELETE FROM platform.outbox")
        clock.advance(timedelta(days=1, minutes=1))
        assert await violations(worker) == {}


def test_the_names_are_those_of_the_alerts() -> None:
    """Two of them call somebody by name."""
    assert {"doctor_double_booked", "patient_double_booked"} <= set(NAMES)
