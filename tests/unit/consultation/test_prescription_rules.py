"""What may be prescribed, and what a prescription's fields take."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from telemed.consultation.prescriptions.rules import (
    FOLLOW_UP_WITHIN,
    MAX_VERSIONS,
    next_version,
    require_follow_up_ahead,
    require_prescribing,
)
from telemed.consultation.prescriptions.schemas import IssuePrescription
from telemed.consultation.problems import PrescriptionLimitReached
from telemed.contracts.appointments import AppointmentStatus, StepNotAllowed
from telemed.kernel.problems import InvalidRequest

NOW = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
TODAY = NOW.date()
ITEM = {"medicine": "Ibuprofen 400 mg", "dosage": "1 tablet", "frequency": "twice a day", "duration_days": 3}


@pytest.mark.parametrize("state", list(AppointmentStatus))
def test_only_a_visit_that_took_place_has_a_prescription(state: AppointmentStatus) -> None:
    """Every other state refuses, and says which it is."""
    if state in {AppointmentStatus.IN_PROGRESS, AppointmentStatus.COMPLETED}:
        require_prescribing(state)
        return
    with pytest.raises(StepNotAllowed) as refused:
        require_prescribing(state)
    assert refused.value.document(instance="", trace_id="")["state"] == state.value


def test_versions_count_up_to_the_bound() -> None:
    """The first is 1; there is a last."""
    assert next_version(None) == 1
    assert next_version(MAX_VERSIONS - 1) == MAX_VERSIONS
    with pytest.raises(PrescriptionLimitReached):
        next_version(MAX_VERSIONS)


@pytest.mark.parametrize("day", [None, TODAY - timedelta(days=1), TODAY, TODAY + FOLLOW_UP_WITHIN])
def test_a_follow_up_on_the_doctors_calendar_is_accepted(day: date | None) -> None:
    """A doctor west of Greenwich writes yesterday's date shortly after midnight in UTC."""
    require_follow_up_ahead(day, now=NOW)


@pytest.mark.parametrize("day", [TODAY - timedelta(days=2), TODAY + FOLLOW_UP_WITHIN + timedelta(days=1)])
def test_a_follow_up_in_the_past_or_beyond_treatment_is_refused(day: date) -> None:
    """The refusal points at the field."""
    with pytest.raises(InvalidRequest) as refused:
        require_follow_up_ahead(day, now=NOW)
    assert refused.value.document(instance="", trace_id="")["errors"][0]["loc"] == ["body", "follow_up_on"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": []},
        {"items": [ITEM] * 51},
        {"items": [ITEM | {"duration_days": 0}]},
        {"items": [ITEM | {"duration_days": 3651}]},
        {"items": [ITEM | {"duration_days": True}]},
        {"items": [ITEM | {"duration_days": "7"}]},
        {"items": [ITEM | {"duration_days": 7.0}]},
        {"items": [ITEM | {"medicine": " \u200b"}]},
        {"items": [ITEM | {"medicine": "a\x00b"}]},
        {"items": [ITEM | {"colour": "blue"}]},
        {"follow_up_on": 1_764_000_000},
        {"follow_up_on": "2026-12-07T00:00:00Z"},
        {"follow_up_on": "1999-12-31"},
        {"follow_up_on": "2100-01-01"},
        {"follow_up_on": "9999-12-31"},
        {"follow_up_on": "2027-02-29"},
        {"follow_up_on": "２０２６-12-07"},
        {"diagnosis": ""},
        {"issued_by": "somebody"},
    ],
)
def test_a_malformed_prescription_is_refused(wrong: dict[str, Any]) -> None:
    """Bounds, kinds and unknown fields are checked before anything is looked up."""
    with pytest.raises(ValidationError):
        IssuePrescription.model_validate({"items": [ITEM]} | wrong)


def test_a_full_course_in_any_script_is_accepted() -> None:
    """Fifty items of ten years, with text of several lines and scripts."""
    body = IssuePrescription.model_validate(
        {
            "items": [ITEM | {"medicine": "पैरासिटामोल", "duration_days": 3650}] * 50,
            "advice": "आराम करें\nObst essen",
            "follow_up_on": "2026-12-07",
        }
    )
    assert body.follow_up_on == date(2026, 12, 7)
