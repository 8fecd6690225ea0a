"""Visits to test with, put into the database: a test of consultation chooses time and state itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.support.people import People, User

from telemed.kernel.clock import ManualClock
from telemed.kernel.ids import uuid7

LENGTH = timedelta(minutes=30)


@dataclass(frozen=True)
class Visit:
    """One appointment and its two people."""

    id: str
    patient: User
    doctor: User
    starts_at: datetime
    _owner: asyncpg.Connection

    @property
    def path(self) -> str:
        return f"/consultation/{self.id}"

    async def row(self) -> dict[str, Any]:
        """Read the appointment as it is stored."""
        row = await self._owner.fetchrow("SELECT * FROM booking.appointments WHERE id = $1", UUID(self.id))
        return dict(row or {})

    async def set_status(self, status: str) -> None:
        await self._owner.execute("UPDATE booking.appointments SET status = $2 WHERE id = $1", UUID(self.id), status)

    async def trail(self, action: str) -> list[dict[str, Any]]:
        """Read what the audit trail says of this action on this visit, oldest first."""
        rows = await self._owner.fetch(
            """
            SELECT * FROM audit.records
            WHERE action = $1 AND (entity_id = $2 OR details ->> 'consultation_id' = $3)
            ORDER BY id
            """,
            action,
            UUID(self.id),
            self.id,
        )
        return [dict(row) for row in rows]

    async def events(self) -> list[str]:
        """Read the types of the events about this visit, oldest first."""
        rows = await self._owner.fetch(
            "SELECT type FROM platform.outbox WHERE payload ->> 'consultation_id' = $1 ORDER BY occurred_at, type",
            self.id,
        )
        return [row["type"] for row in rows]


MakeVisit = Callable[..., Awaitable[Visit]]


@pytest.fixture
def make_visit(people: People, owner: asyncpg.Connection, clock: ManualClock) -> MakeVisit:
    """Makes visits; without arguments one that begins now, of people of its own."""

    async def make(
        *,
        patient: User | None = None,
        doctor: User | None = None,
        starts_in: timedelta = timedelta(),
        status: str = "booked",
    ) -> Visit:
        patient, doctor = patient or await people.patient(), doctor or await people.doctor()
        starts_at = clock.now() + starts_in
        visit = Visit(str(uuid7()), patient, doctor, starts_at, owner)
        slot_id = uuid7()
        await owner.execute(
            """
            INSERT INTO booking.doctors (id, full_name, specialization, languages, fee_minor, fee_currency, time_zone,
                                         registration_number, is_listed, listed_at, version)
            VALUES ($1, $2, 'cardiology', '{en}', 50000, 'INR', 'Asia/Kolkata', 'MCI-1', true, $3, 1)
            ON CONFLICT DO NOTHING
            """,
            UUID(doctor.id),
            doctor.full_name,
            clock.now(),
        )
        await owner.execute(
            "INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)"
            " VALUES ($1, $2, $3, $4, 'booked', 2)",
            slot_id,
            UUID(doctor.id),
            starts_at,
            starts_at + LENGTH,
        )
        await owner.execute(
            "INSERT INTO booking.appointments"
            " (id, slot_id, doctor_id, patient_id, status, starts_at, ends_at, created_at, version)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)",
            UUID(visit.id),
            slot_id,
            UUID(doctor.id),
            UUID(patient.id),
            status,
            starts_at,
            starts_at + LENGTH,
            clock.now(),
        )
        return visit

    return make


@pytest.fixture
def prescription() -> dict[str, Any]:
    """A prescription as a doctor sends it."""
    return {
        "diagnosis": "Acute bacterial sinusitis",
        "items": [
            {
                "medicine": "Amoxicillin 500 mg",
                "dosage": "1 capsule",
                "frequency": "three times a day",
                "duration_days": 7,
                "instructions": "After meals.",
            }
        ],
        "advice": "Rest.\nDrink plenty.",
        "follow_up_on": "2026-12-07",
    }
