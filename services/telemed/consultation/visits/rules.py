"""When a visit may start, and when a patient can be said not to have come. Pure: time comes in."""

from datetime import datetime, timedelta
from enum import StrEnum

from telemed.consultation.problems import NoShowTooEarly, VisitLapsed, VisitNotOpenYet
from telemed.contracts.appointments import AppointmentStatus
from telemed.kernel.text import rfc3339

# A doctor who runs late, works through the night or was cut off must still be able to start. What begins a day later
# is another meeting and needs an appointment of its own: this one is a no-show or is cancelled.
STARTABLE_AFTER_END = timedelta(hours=24)


class VisitStatus(StrEnum):
    """Where a consultation stands."""

    BOOKED = "booked"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


def status_shown(stored: str) -> VisitStatus:
    """Say it in consultation's words: a visit that was moved takes no place, its successor has an id of its own."""
    if stored == AppointmentStatus.RESCHEDULED:
        return VisitStatus.CANCELLED
    return VisitStatus(stored)


def stored_as(shown: VisitStatus) -> list[AppointmentStatus]:
    """Give every stored state that is shown as this one."""
    return [state for state in AppointmentStatus if status_shown(state) == shown]


def require_open(now: datetime, *, starts_at: datetime, ends_at: datetime, opens_before: timedelta) -> None:
    """Let a visit start only around its time.

    Raises:
        VisitNotOpenYet: more than *opens_before* is left until its time.
        VisitLapsed: more than STARTABLE_AFTER_END has gone by since its end.
    """
    opens_at, lapsed_at = starts_at - opens_before, ends_at + STARTABLE_AFTER_END
    if now < opens_at:
        raise VisitNotOpenYet(f"The visit may be started from {rfc3339(opens_at)} on.", opens_at=opens_at)
    if now > lapsed_at:
        raise VisitLapsed("The visit's time is long over; book another appointment.", lapsed_at=lapsed_at)


def require_late(now: datetime, *, starts_at: datetime) -> None:
    """Let a patient be missed only from the visit's time on.

    Raises:
        NoShowTooEarly: the visit's time has not come.
    """
    if now < starts_at:
        raise NoShowTooEarly(f"The visit is only due at {rfc3339(starts_at)}.", allowed_from=starts_at)
