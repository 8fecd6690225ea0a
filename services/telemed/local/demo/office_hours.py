"""A doctor's office hours as slots: wall time where the doctor lives, instants everywhere else."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from telemed.booking.slots.schemas import SlotTimes
from telemed.local.demo.cast import OfficeHours


def office_slots(hours: OfficeHours, time_zone: str, *, begin: datetime, end: datetime) -> list[SlotTimes]:
    """Give the slots that start in [*begin*, *end*), in the order of time.

    Nine o'clock stays nine o'clock when the clocks change: each start is made from its own day's wall time, and a
    visit's length is added to the instant.
    """
    zone = ZoneInfo(time_zone)
    first, last = begin.astimezone(zone).date(), end.astimezone(zone).date()
    length = timedelta(minutes=hours.minutes_per_visit)
    starts = (start.astimezone(UTC) for day in _days(first, last) for start in _starts(hours, day, zone))
    return [SlotTimes(starts_at=start, ends_at=start + length) for start in starts if begin <= start < end]


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=count) for count in range((last - first).days + 1))


def _starts(hours: OfficeHours, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    if day.weekday() not in hours.weekdays:
        return
    for opens, closes in ((hours.opens, hours.break_from), (hours.break_to, hours.closes)):
        for minute in range(_minute(opens), _minute(closes) - hours.minutes_per_visit + 1, hours.minutes_per_visit):
            yield datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)


def _minute(moment: time) -> int:
    return moment.hour * 60 + moment.minute
