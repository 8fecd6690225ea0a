"""Pure decisions about appointments."""

from collections.abc import Collection

from telemed.booking.appointments.schemas import ShownStatus
from telemed.contracts.appointments import AppointmentStatus


def stored_statuses(shown: ShownStatus | None) -> Collection[str] | None:
    """Give the states that a client of booking means by one of its words; None for any."""
    if shown is None:
        return None
    if shown == "booked":
        return (AppointmentStatus.BOOKED.value, AppointmentStatus.IN_PROGRESS.value)
    return (shown,)
