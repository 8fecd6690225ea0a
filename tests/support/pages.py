"""Pages of search for tests that have no database to write them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from telemed.booking.doctors.schemas import DOCTOR_CARD_EXAMPLE, DoctorCard
from telemed.booking.slots.pages import SlotPage, opening_name
from telemed.booking.slots.schemas import FoundSlot

_DOCTOR = DoctorCard.model_validate(DOCTOR_CARD_EXAMPLE)


def page_of(slots: Iterable[tuple[UUID, datetime]], *, has_more: bool, limit: int, version: int = 1) -> SlotPage:
    """Make a page of slots with these ids and beginnings, each in its opening of this *version*."""
    found = [
        FoundSlot(id=slot_id, starts_at=at, ends_at=at + timedelta(minutes=20), doctor=_DOCTOR) for slot_id, at in slots
    ]
    return SlotPage(
        tuple(opening_name(slot.id, version) for slot in found),
        tuple(slot.model_dump_json() for slot in found),
        has_more,
        limit,
    )
