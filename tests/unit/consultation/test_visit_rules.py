"""When a visit may start and be missed, and what its states are called."""

from datetime import UTC, datetime, timedelta

import pytest

from telemed.consultation.problems import NoShowTooEarly, VisitLapsed, VisitNotOpenYet
from telemed.consultation.visits.rules import (
    STARTABLE_AFTER_END,
    VisitStatus,
    require_late,
    require_open,
    status_shown,
    stored_as,
)
from telemed.contracts.appointments import AppointmentStatus

STARTS_AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ENDS_AT = STARTS_AT + timedelta(minutes=30)
OPENS_BEFORE = timedelta(minutes=15)
TICK = timedelta(microseconds=1)


def start_at(now: datetime) -> None:
    require_open(now, starts_at=STARTS_AT, ends_at=ENDS_AT, opens_before=OPENS_BEFORE)


def test_a_visit_opens_exactly_at_its_instant() -> None:
    """Early by less than nothing is early enough; the refusal says from when on."""
    start_at(STARTS_AT - OPENS_BEFORE)
    with pytest.raises(VisitNotOpenYet) as refused:
        start_at(STARTS_AT - OPENS_BEFORE - TICK)
    assert refused.value.document(instance="", trace_id="")["opens_at"] == "2026-11-23T08:45:00Z"


def test_a_late_doctor_may_start_for_a_day_after_the_end() -> None:
    """The bound is a day after the end, to the instant."""
    start_at(ENDS_AT + STARTABLE_AFTER_END)
    with pytest.raises(VisitLapsed):
        start_at(ENDS_AT + STARTABLE_AFTER_END + TICK)


def test_nobody_is_late_before_the_time() -> None:
    """A no-show counts from the visit's instant on."""
    require_late(STARTS_AT, starts_at=STARTS_AT)
    with pytest.raises(NoShowTooEarly):
        require_late(STARTS_AT - TICK, starts_at=STARTS_AT)


def test_every_state_is_shown_and_found_again() -> None:
    """No stored state is without a name, and a filter by that name finds it."""
    for state in AppointmentStatus:
        assert state in stored_as(status_shown(state))
    assert status_shown("rescheduled") is VisitStatus.CANCELLED
    assert sum(len(stored_as(shown)) for shown in VisitStatus) == len(AppointmentStatus)
