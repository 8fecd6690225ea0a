"""Pure decisions about slots."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from telemed.booking.problems import SlotStarted, SlotTaken, overlap
from telemed.booking.slots.models import SlotStatus
from telemed.booking.slots.schemas import SlotTimes
from telemed.kernel.problems import FieldError, InvalidRequest, NotFound

SHORTEST = timedelta(minutes=5)  # shorter ones are slips of the finger, or seconds instead of minutes
LONGEST = timedelta(hours=12)  # longer than any shift; a slot of a day is a wrong date


def require_publishable(wanted: Sequence[SlotTimes], *, now: datetime) -> None:
    """Refuse slots that are over, that have no sensible length, or that overlap one another.

    Raises:
        InvalidRequest: naming each slot that is wrong.
        SlotOverlap: naming the earlier of two that overlap.
    """
    wrong = [
        FieldError(loc=["body", "slots", index, field], msg=message, type=kind)
        for index, times in enumerate(wanted)
        for field, kind, message in _faults(times, now)
    ]
    if wrong:
        raise InvalidRequest(errors=wrong[:20])
    in_order = sorted(wanted, key=lambda times: times.starts_at)
    for earlier, later in pairwise(in_order):
        if later.starts_at < earlier.ends_at:
            raise overlap(None, earlier.starts_at, earlier.ends_at)


def _faults(times: SlotTimes, now: datetime) -> list[tuple[str, str, str]]:
    faults = []
    if times.starts_at <= now:
        faults.append(("starts_at", "in_the_past", "A slot begins in the future."))
    if not SHORTEST <= times.ends_at - times.starts_at <= LONGEST:
        faults.append(("ends_at", "duration", "A slot lasts from 5 minutes to 12 hours."))
    return faults


def require_bookable(status: str, starts_at: datetime, *, now: datetime) -> None:
    """Refuse a slot that nobody can have any more.

    Raises:
        NotFound: it was withdrawn.
        SlotStarted: it begins at or before *now*.
        SlotTaken: somebody has booked it.
    """
    if status == SlotStatus.WITHDRAWN:
        raise NotFound("There is no such slot.")
    if starts_at <= now:
        raise SlotStarted
    if status != SlotStatus.OPEN:
        raise SlotTaken


def require_sensible_range(starts_from: datetime | None, starts_before: datetime | None) -> None:
    """Refuse a search whose end lies before its beginning.

    Raises:
        InvalidRequest: naming the end.
    """
    if starts_from is not None and starts_before is not None and starts_before <= starts_from:
        wrong = FieldError(loc=["query", "to"], msg="`to` lies after `from`.", type="range")
        raise InvalidRequest(errors=[wrong])
