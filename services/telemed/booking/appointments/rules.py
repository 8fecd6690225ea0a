"""How booking speaks of an appointment's state, and until when a patient may leave it. Pure."""

from datetime import datetime
from enum import StrEnum

from telemed.booking.problems import AppointmentBegun
from telemed.contracts.appointments import AppointmentStatus, Part


class ShownStatus(StrEnum):
    """Where an appointment stands, for those who book."""

    BOOKED = "booked"
    CANCELLED = "cancelled"
    RESCHEDULED = "rescheduled"
    COMPLETED = "completed"
    NO_SHOW = "no_show"


def status_shown(stored: str) -> ShownStatus:
    """Say it in booking's words: a running visit is still booked."""
    if stored == AppointmentStatus.IN_PROGRESS:
        return ShownStatus.BOOKED
    return ShownStatus(stored)


def stored_as(shown: ShownStatus) -> list[AppointmentStatus]:
    """Give every stored state that is shown as this one."""
    return [state for state in AppointmentStatus if status_shown(state) == shown]


def require_in_time(part: Part | None, starts_at: datetime, *, now: datetime) -> None:
    """Let a patient leave only before the appointment begins: afterwards not coming is for its doctor to record.

    Raises:
        AppointmentBegun: it has.
    """
    if part == "patient" and now >= starts_at:
        raise AppointmentBegun
