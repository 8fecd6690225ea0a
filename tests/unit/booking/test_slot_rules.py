"""Which slots may be published, and which may be booked."""

from datetime import UTC, datetime, timedelta

import pytest

from telemed.booking.problems import SlotOverlap, SlotStarted, SlotTaken
from telemed.booking.slots.rules import LONGEST, SHORTEST, require_bookable, require_publishable
from telemed.booking.slots.schemas import SlotTimes
from telemed.kernel.problems import InvalidRequest, NotFound

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def times(start_minutes: int, minutes: float) -> SlotTimes:
    begin = NOW + timedelta(minutes=start_minutes)
    return SlotTimes(starts_at=begin, ends_at=begin + timedelta(minutes=minutes))


def test_slots_that_touch_do_not_overlap() -> None:
    """Nine to half past and half past to ten are two slots."""
    require_publishable([times(60, 30), times(90, 30)], now=NOW)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_slots_of_one_batch_must_not_overlap(order: tuple[int, int]) -> None:
    """In whatever order they are given, and equality is not the only overlap."""
    batch = [times(60, 30), times(89, 30)]

    with pytest.raises(SlotOverlap):
        require_publishable([batch[place] for place in order], now=NOW)


@pytest.mark.parametrize(
    ("start", "minutes", "field"),
    [(0, 30, "starts_at"), (-5, 30, "starts_at"), (60, 0, "ends_at"), (60, -30, "ends_at"), (60, 4.9, "ends_at")],
)
def test_a_senseless_slot_is_named(start: int, minutes: float, field: str) -> None:
    """The error says which slot of the batch is wrong, and where."""
    with pytest.raises(InvalidRequest) as refused:
        require_publishable([times(600, 30), times(start, minutes)], now=NOW)

    (error,) = refused.value.extras.model_dump()["errors"]
    assert error["loc"] == ["body", "slots", 1, field]


@pytest.mark.parametrize(("length", "fits"), [(SHORTEST, True), (LONGEST, True), (LONGEST * 2, False)])
def test_lengths_at_the_edges(length: timedelta, *, fits: bool) -> None:
    """Five minutes and twelve hours are inside."""
    slot = SlotTimes(starts_at=NOW + timedelta(hours=1), ends_at=NOW + timedelta(hours=1) + length)

    if fits:
        require_publishable([slot], now=NOW)
    else:
        with pytest.raises(InvalidRequest):
            require_publishable([slot], now=NOW)


@pytest.mark.parametrize(
    ("status", "start_minutes", "problem"),
    [
        ("withdrawn", 60, NotFound),
        ("withdrawn", -60, NotFound),
        ("open", 0, SlotStarted),
        ("booked", -1, SlotStarted),
        ("booked", 60, SlotTaken),
    ],
)
def test_what_cannot_be_booked(status: str, start_minutes: int, problem: type[Exception]) -> None:
    """Withdrawn is as if it had never been; begun comes before taken."""
    with pytest.raises(problem):
        require_bookable(status, NOW + timedelta(minutes=start_minutes), now=NOW)


def test_an_open_slot_in_the_future_can_be_booked() -> None:
    """One microsecond ahead is enough."""
    require_bookable("open", NOW + timedelta(microseconds=1), now=NOW)
