"""One patient's data, and everybody who might look at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import Caller, People, User

# Words that no answer may have which is not for their reader.
SECRETS = ("Ünsaid \\ “reason”", "Untold diagnosis", "patient.secret@example.com", "MCI-SECRET")


@dataclass(frozen=True)
class Scene:
    """A visit that has begun, with a prescription that was superseded once; *callers* are told apart by their part."""

    visit_id: str
    doctor: User
    callers: Mapping[str, Caller]
    owner: asyncpg.Connection

    @property
    def paths(self) -> dict[str, str]:
        """Give every look, by name."""
        return {
            "appointment": f"/booking/appointments/{self.visit_id}",
            "appointments": "/booking/appointments",
            "consultation": f"/consultation/{self.visit_id}",
            "consultations": "/consultation",
            "prescription": f"/consultation/{self.visit_id}/prescription",
            "doctor": f"/booking/doctors/{self.doctor.id}",
            "doctors": "/booking/doctors?limit=100",
            "me": "/auth/me",
        }

    async def records(self, request_id: str) -> list[tuple[Any, ...]]:
        """Give what the trail says of one request, but for ids that are every request's own."""
        rows = await self.owner.fetch(
            """
            SELECT action, outcome, actor_id, actor_role, entity_type, entity_id, patient_id, details
            FROM audit.records WHERE request_id = $1 ORDER BY action, entity_id
            """,
            request_id,
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose trail and directory are this test's."""
    return fresh_database


@pytest.fixture
async def scene(people: People, clinic: Clinic, owner: asyncpg.Connection) -> Scene:
    """The data, and the callers."""
    doctor = await clinic.doctor(registration_number=SECRETS[3])
    patient = await people.patient(email=SECRETS[2])
    (slot,) = await clinic.slots(doctor)
    booked = await patient.post("/booking/slots/book", {"slot_id": slot["id"], "reason": SECRETS[0]})
    visit_id = booked.json()["id"]
    await owner.execute("UPDATE booking.appointments SET status = 'in_progress' WHERE id = $1", UUID(visit_id))
    item = {"medicine": "Paracetamol", "dosage": "1", "frequency": "daily", "duration_days": 1}
    for diagnosis in (SECRETS[1], f"{SECRETS[1]}, corrected"):
        issued = await doctor.post(f"/consultation/{visit_id}/prescription", {"diagnosis": diagnosis, "items": [item]})
        assert issued.status_code == 201, issued.text
    callers = {
        "patient": patient,
        "doctor": doctor,
        "other patient": await people.patient(),
        "other doctor": await clinic.doctor(),
        "admin": await people.admin(),
        "ended session": await people.left(patient),
        "deleted": await _deleted(people, owner),
        "forged": Caller(people.nobody.client, "a.b.c"),
        "nobody": people.nobody,
    }
    return Scene(visit_id, doctor, callers, owner)


async def _deleted(people: People, owner: asyncpg.Connection) -> Caller:
    """Make somebody whose account is gone while their token is not."""
    gone = await people.doctor()
    await owner.execute("DELETE FROM auth.sessions WHERE user_id = $1", UUID(gone.id))
    await owner.execute("DELETE FROM auth.users WHERE id = $1", UUID(gone.id))
    return gone
