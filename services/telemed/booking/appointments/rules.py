"""How booking speaks of an appointment's state. Pure."""

from enum import StrEnum

from telemed.contracts.appointments import AppointmentStatus


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
