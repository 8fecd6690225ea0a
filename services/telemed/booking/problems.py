"""What can go wrong when people meet."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from telemed.kernel.problems import Problem
from telemed.kernel.text import Instant


class SlotTaken(Problem):
    """This slot is booked already."""

    status = 409


class SlotContended(Problem):
    """Many people want this slot at the same time; try again."""

    status = 409
    is_final = False


class SlotStarted(Problem):
    """This slot has begun and can no longer be booked."""

    status = 410


class PatientBusy(Problem):
    """The patient has another appointment at this time."""

    status = 409


class SlotOverlap(Problem):
    """A slot overlaps another one of the same doctor."""

    status = 409

    class Extras(Problem.Extras):
        slot_id: UUID | None = Field(default=None, description="The published slot that is in the way, if it is one.")
        starts_at: Instant | None = Field(default=None, description="Where the slot in the way begins.")
        ends_at: Instant | None = Field(default=None, description="Where the slot in the way ends.")


class SlotBooked(Problem):
    """The slot is booked; cancel or move its appointment first."""

    status = 409


class ProfileMissing(Problem):
    """The doctor has no entry in the directory yet."""

    status = 409


class AppointmentBegun(Problem):
    """The appointment's time has come; only its doctor can end it now."""

    status = 409


class DifferentDoctor(Problem):
    """An appointment can only be moved to another slot of the same doctor."""

    status = 409


def overlap(slot_id: UUID | None, starts_at: datetime, ends_at: datetime) -> SlotOverlap:
    """Name the slot that is in the way."""
    return SlotOverlap(
        f"There is a slot from {starts_at:%Y-%m-%d %H:%M} to {ends_at:%Y-%m-%d %H:%M} UTC already.",
        slot_id=slot_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )
