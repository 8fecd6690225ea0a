"""The rows of a data set, as the API would have left them. Pure: a seed and a plan always give the same rows.

What is not made, and why: no records in the trail and no events for what is loaded (README.md); no rows of booking's
history, which the database's own trigger writes while the appointments are loaded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

# asyncpg's own, and not the standard library's: made of bytes in a tenth of the time, and there are ten million.
from asyncpg.pgproto.pgproto import UUID

from dataset.cast import CastDoctor, doctor, email, full_name, phone
from dataset.plan import BOOKED_BEFORE, SLOT, SLOTS_A_DAY, Plan
from telemed.local.demo.cases import CASES, Case

Row = tuple[Any, ...]  # of a table, in the order of its columns in COLUMNS

COLUMNS: dict[str, tuple[str, ...]] = {
    "auth.users": ("id", "email", "full_name", "phone", "role", "password_hash", "created_at"),
    "auth.sessions": ("id", "user_id", "rotated_at", "created_at", "expires_at"),
    "booking.doctors": (
        *("id", "full_name", "specialization", "languages", "fee_minor", "fee_currency", "time_zone", "bio"),
        *("registration_number", "is_listed", "listed_at", "version"),
    ),
    # With what the database would copy from the doctor of each.
    "booking.slots": ("id", "doctor_id", "starts_at", "ends_at", "status", "version", "specialization_key"),
    "booking.appointments": (
        *("id", "slot_id", "doctor_id", "patient_id", "status", "starts_at", "ends_at", "reason", "created_at"),
        *("started_at", "completed_at", "version"),
    ),
    "consultation.prescriptions": (
        *("id", "consultation_id", "doctor_id", "patient_id", "version", "issued_at", "diagnosis", "items", "advice"),
        "follow_up_on",
    ),
}

# What becomes of a slot, in hundredths: those that are over, and those to come. What is left stays open.
_OVER = (("completed", 62), ("no_show", 68), ("cancelled", 71), ("withdrawn", 73))
_AHEAD = (("booked", 20), ("cancelled", 22), ("withdrawn", 23))
_APPOINTMENT_VERSIONS = {"booked": 1, "no_show": 2, "cancelled": 2, "completed": 3}
_PRESCRIBED = 70  # of a hundred completed visits
SESSIONS_LAST = timedelta(days=30)


@dataclass
class Rows:
    """Rows for each table, in an order in which they can be loaded: whatever is referred to comes first."""

    of: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in COLUMNS})


@dataclass(frozen=True)
class People:
    """The ids of everybody, by number."""

    doctors: list[UUID]
    patients: list[UUID]


class RandomIds:
    """Ids of version 7 from a seeded source."""

    def __init__(self, random: Random) -> None:
        self._bits = random.getrandbits

    def at(self, instant: datetime) -> UUID:
        """Make an id of this instant. Source of the layout: RFC 9562, section 5.7."""
        milliseconds = int(instant.timestamp() * 1000)
        low = 0b10 << 62 | self._bits(62)
        return UUID((milliseconds << 80 | 0x7 << 76 | self._bits(12) << 64 | low).to_bytes(16))


def people_rows(plan: Plan, password_hash: str) -> tuple[People, Rows]:
    """Make everybody with an account and a session: one administrator, the doctors with their entries, the patients."""
    ids, rows = RandomIds(Random(f"{plan.seed}/people")), Rows()  # noqa: S311 - invented people, no secrets
    joined_at = plan.published_at - timedelta(days=1)

    def enter(role: str, number: int, name: str) -> UUID:
        user_id = ids.at(joined_at)
        user = (user_id, email(role, number, plan.seed), name, phone(number), role, password_hash, joined_at)
        rows.of["auth.users"].append(user)
        opened = (ids.at(plan.now), user_id, plan.now, plan.now, plan.now + SESSIONS_LAST)
        rows.of["auth.sessions"].append(opened)
        return user_id

    enter("admin", 0, full_name(0))
    doctors = [enter("doctor", number, doctor(number).full_name) for number in range(plan.doctors)]
    patients = [enter("patient", number, full_name(number)) for number in range(plan.patients)]
    rows.of["booking.doctors"] += [
        _entry(doctor_id, doctor(number), joined_at + timedelta(seconds=number))
        for number, doctor_id in enumerate(doctors)
    ]
    return People(doctors, patients), rows


def doctor_rows(plan: Plan, people: People, numbers: range) -> Rows:
    """Make the slots of these doctors, with the appointments and prescriptions that became of them."""
    rows = Rows()
    for number in numbers:
        _Work(plan, people, number, rows).fill()
    return rows


def visitor(plan: Plan, doctor_number: int, starts_at: datetime) -> int:
    """Give the number of the patient who has this doctor's slot at this time.

    Never the same for two doctors at one time, as there are at least as many patients with visits as doctors; all
    slots lie on one grid, so nobody is in two places at once.
    """
    place = int(starts_at.timestamp()) // int(SLOT.total_seconds())
    return (doctor_number + place * 7919) % plan.patients_with_visits


def _entry(doctor_id: UUID, cast: CastDoctor, listed_at: datetime) -> Row:
    return (
        doctor_id, cast.full_name, cast.specialization, list(cast.languages), cast.fee_minor, cast.region.currency,
        cast.region.time_zone, f"{cast.specialization}, by appointment.", cast.registration_number, True, listed_at, 1,
    )  # fmt: skip


class _Work:
    """What one doctor has done and will do."""

    def __init__(self, plan: Plan, people: People, number: int, rows: Rows) -> None:
        self._plan = plan
        self._people = people
        self._number = number
        self._id = people.doctors[number]
        specialization = doctor(number).specialization
        self._cases = CASES[specialization]
        self._specialization_key = specialization.lower()
        self._random = Random(f"{plan.seed}/doctor/{number}")  # noqa: S311 - the same
        self._ids = RandomIds(self._random)
        self._booked_by = plan.now - BOOKED_BEFORE
        self._slots = rows.of["booking.slots"]
        self._appointments = rows.of["booking.appointments"]
        self._prescriptions = rows.of["consultation.prescriptions"]

    def fill(self) -> None:
        """Make every slot and what became of it."""
        now, chance = self._plan.now, self._random.random
        for starts_at in self._times():
            ends_at = starts_at + SLOT
            fate = _fate(_OVER if ends_at <= now else _AHEAD, 100 * chance())
            slot_id = self._ids.at(self._plan.published_at)
            status, version = _SLOTS_OF[fate]
            self._slots.append((slot_id, self._id, starts_at, ends_at, status, version, self._specialization_key))
            if fate in _APPOINTMENT_VERSIONS:
                self._appoint(slot_id, starts_at, fate)

    def _times(self) -> Iterator[datetime]:
        opens = self._plan.first_day + timedelta(hours=doctor(self._number).opens_at_hour)
        for place in range(self._plan.slots_of(self._number)):
            day, turn = divmod(place, SLOTS_A_DAY)
            # An hour's break after the first half.
            yield opens + timedelta(days=day) + SLOT * (turn + 2 * (turn >= SLOTS_A_DAY // 2))

    def _appoint(self, slot_id: UUID, starts_at: datetime, fate: str) -> None:
        plan, random = self._plan, self._random
        latest = min(self._booked_by, starts_at - timedelta(hours=1))
        created_at = plan.published_at + (latest - plan.published_at) * random.random()
        patient_id = self._people.patients[visitor(plan, self._number, starts_at)]
        case = self._cases[random.randrange(len(self._cases))]
        started_at = completed_at = None
        if fate == "completed":
            started_at = starts_at + timedelta(seconds=random.randrange(180))
            completed_at = started_at + timedelta(seconds=random.randrange(600, 1500))
        appointment_id = self._ids.at(created_at)
        self._appointments.append(
            (
                appointment_id, slot_id, self._id, patient_id, fate, starts_at, starts_at + SLOT, case.reason,
                created_at, started_at, completed_at, _APPOINTMENT_VERSIONS[fate],
            )
        )  # fmt: skip
        if completed_at is not None and random.randrange(100) < _PRESCRIBED:
            self._prescribe(appointment_id, patient_id, case, completed_at - timedelta(minutes=1))

    def _prescribe(self, appointment_id: UUID, patient_id: UUID, case: Case, issued_at: datetime) -> None:
        items, follow_up_days = _prescribed(case)
        follow_up_on = issued_at.date() + follow_up_days if follow_up_days is not None else None
        self._prescriptions.append(
            (
                self._ids.at(issued_at), appointment_id, self._id, patient_id, 1, issued_at, case.diagnosis, items,
                case.advice, follow_up_on,
            )
        )  # fmt: skip


# Status and version of the slot: opening counts one, each booking, cancellation and withdrawal one more.
_SLOTS_OF = {
    "open": ("open", 1),
    "booked": ("booked", 2),
    "completed": ("booked", 2),
    "no_show": ("booked", 2),
    "withdrawn": ("withdrawn", 2),
    "cancelled": ("open", 3),
}


def _fate(shares: tuple[tuple[str, int], ...], hundredth: float) -> str:
    for fate, up_to in shares:
        if hundredth < up_to:
            return fate
    return "open"


@cache
def _prescribed(case: Case) -> tuple[str, timedelta | None]:
    """Give the items as the API stores them, and after how many days the patient comes again."""
    items = [item.model_dump(mode="json") for item in case.prescription(on=date(2026, 1, 1)).items]
    again = timedelta(days=case.follow_up_days) if case.follow_up_days is not None else None
    return json.dumps(items), again
