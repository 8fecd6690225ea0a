"""Which months may go, and which ids a month of the trail has. Pure."""

from datetime import UTC, date, datetime
from uuid import UUID

# The shortest time for which the trail is kept, whatever the settings say (`Settings.audit_keep_months`); a retirement
# of less is believed by nobody.
SHORTEST_TRAIL_MONTHS = 12

_RANDOM_BITS = 80


def months_between(earlier: date, later: date) -> int:
    """Count whole months from one first of a month to another."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def first_id_of(month: date | None) -> UUID:
    """Give the lowest id of version 7 that can be made in the month; the lowest of all if it has no beginning."""
    if month is None:
        return UUID(int=0)
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << _RANDOM_BITS)


def month_that_begins_with(first_id: UUID) -> date | None:
    """Give the month whose lowest id this is; None if it is no such id."""
    if first_id.int & ((1 << _RANDOM_BITS) - 1):
        return None
    try:
        start = datetime.fromtimestamp((first_id.int >> _RANDOM_BITS) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return start.date() if start == datetime(start.year, start.month, 1, tzinfo=UTC) else None


def range_fault(from_id: UUID, to_id: UUID, *, retired_at: datetime, now: datetime) -> str | None:
    """Say why no honest retirement can have this range; None if one can.

    Only whole months go, and only old ones: so that a retirement cannot be made up to hide one record, or last week.
    """
    ends = month_that_begins_with(to_id)
    if ends is None or (from_id.int and month_that_begins_with(from_id) is None):
        return "its range is not one of months"
    if retired_at > now:
        return "it lies in the future"
    if months_between(ends, retired_at.astimezone(UTC).date().replace(day=1)) < SHORTEST_TRAIL_MONTHS:
        return f"the month was not {SHORTEST_TRAIL_MONTHS} months old"
    return None
