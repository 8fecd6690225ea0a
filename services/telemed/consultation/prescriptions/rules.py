"""What may be prescribed, and when. Pure: time comes in."""

from datetime import date, datetime, timedelta

from telemed.consultation.problems import PrescriptionLimitReached
from telemed.contracts.appointments import AppointmentStatus, StepNotAllowed
from telemed.kernel.problems import FieldError, InvalidRequest

# A prescription belongs to a visit that took place. There is no end to it: a mistake can be put right for ever.
PRESCRIBING = frozenset({AppointmentStatus.IN_PROGRESS, AppointmentStatus.COMPLETED})
# Nobody corrects a prescription that often; without a bound, the reply that shows all of them has none either.
MAX_VERSIONS = 50
# The longest course that an item may state (3650 days) and its check-up are within it.
FOLLOW_UP_WITHIN = timedelta(days=3660)
# The doctor writes the date of their own calendar, which may be a day behind UTC's.
ZONES_DIFFER_BY = timedelta(days=1)


def require_prescribing(status: str) -> None:
    """Let a prescription be issued only once the visit has started.

    Raises:
        StepNotAllowed: naming the state that it is in.
    """
    state = AppointmentStatus(status)
    if state not in PRESCRIBING:
        raise StepNotAllowed(
            f"The consultation is {state.value}; a prescription needs a visit that has started.", state=state.value
        )


def next_version(current: int | None) -> int:
    """Give the number of the prescription that follows the one of version *current*.

    Raises:
        PrescriptionLimitReached: there may be no more.
    """
    version = (current or 0) + 1
    if version > MAX_VERSIONS:
        raise PrescriptionLimitReached(f"A visit's prescription has at most {MAX_VERSIONS} versions.")
    return version


def require_follow_up_ahead(follow_up_on: date | None, *, now: datetime) -> None:
    """Let a follow-up be neither in the past nor beyond any course of treatment.

    Raises:
        InvalidRequest: it is.
    """
    if follow_up_on is None:
        return
    earliest, latest = now.date() - ZONES_DIFFER_BY, now.date() + FOLLOW_UP_WITHIN
    if not earliest <= follow_up_on <= latest:
        sentence = f"The follow-up must lie between the day of issue and {latest.isoformat()}."
        wrong = FieldError(loc=["body", "follow_up_on"], msg=sentence, type="follow_up_on")
        raise InvalidRequest(sentence, errors=[wrong])
