"""Doctors with slots, and appointments: made through the API, as users make them."""

from datetime import datetime, timedelta
from typing import Any

from tests.support.people import Caller, People, User

from telemed.kernel.text import rfc3339

SLOT = timedelta(minutes=30)


class Clinic:
    """Makes what a test of booking or consultation starts from. *opens_at* is when the first slot begins."""

    def __init__(self, people: People, opens_at: datetime) -> None:
        self._people = people
        self.opens_at = opens_at

    async def doctor(self, **card: Any) -> User:
        """Make a doctor who is listed in the directory."""
        doctor = await self._people.doctor()
        reply = await doctor.put("/booking/doctors/me", doctor_card(**card))
        assert reply.is_success, reply.text
        return doctor

    async def slots(self, doctor: User, count: int = 1, *, starts_at: datetime | None = None) -> list[dict[str, Any]]:
        """Publish adjacent slots of half an hour and give them as the API shows them."""
        first = starts_at or self.opens_at
        times = [(first + SLOT * place, first + SLOT * (place + 1)) for place in range(count)]
        body = {"slots": [{"starts_at": rfc3339(start), "ends_at": rfc3339(end)} for start, end in times]}
        reply = await doctor.post("/booking/slots", body)
        assert reply.status_code == 201, reply.text
        items: list[dict[str, Any]] = reply.json()["items"]
        return items

    async def appointment(
        self, patient: Caller, doctor: User | None = None, *, starts_at: datetime | None = None
    ) -> dict[str, Any]:
        """Book a fresh slot for the patient and give the appointment."""
        doctor = doctor or await self.doctor()
        (slot,) = await self.slots(doctor, starts_at=starts_at)
        reply = await patient.post("/booking/slots/book", {"slot_id": slot["id"]})
        assert reply.status_code == 201, reply.text
        appointment: dict[str, Any] = reply.json()
        return appointment


def doctor_card(**changes: Any) -> dict[str, Any]:
    """Give a valid body for `PUT /booking/doctors/me`."""
    return {
        "specialization": "cardiology",
        "languages": ["en", "hi"],
        "fee": {"amount_minor": 50_000, "currency": "INR"},
        "time_zone": "Asia/Kolkata",
        "bio": "Twenty years of listening to hearts.",
        "registration_number": "MCI-12345",
    } | changes
