"""What the generator makes, without a database."""

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise

import pytest
from tests.support.settings import NOW

from dataset.cast import doctor
from dataset.plan import LARGEST, Plan, PlanProblem, parsed_size
from dataset.rows import COLUMNS, doctor_rows, people_rows

PLAN = Plan(10_000, seed=3, now=NOW)


def test_the_same_seed_and_instant_give_the_same_rows() -> None:
    """Two who load with one seed measure on the same data; another seed gives other people."""

    def everything(plan: Plan) -> list[object]:
        people, rows = people_rows(plan, "hash")
        return [rows.of, doctor_rows(plan, people, range(plan.doctors)).of]

    assert everything(PLAN) == everything(Plan(10_000, seed=3, now=NOW))
    assert everything(PLAN) != everything(Plan(10_000, seed=4, now=NOW))


@pytest.mark.parametrize("slots", [1_000, 10_000, 12_345, 60_000])
def test_exactly_the_wanted_number_of_slots_is_made(slots: int) -> None:
    """Neither rounded up nor down, however it divides by the number of doctors."""
    plan = Plan(slots, seed=1, now=NOW)
    people, _ = people_rows(plan, "hash")

    made = doctor_rows(plan, people, range(plan.doctors)).of["booking.slots"]

    assert len(made) == slots


def test_nobody_is_in_two_places_at_once() -> None:
    """No patient has two appointments that overlap, nor has a doctor two slots."""
    people, _ = people_rows(PLAN, "hash")
    rows = doctor_rows(PLAN, people, range(PLAN.doctors))
    times = defaultdict(list)
    for slot in rows.of["booking.slots"]:
        times[slot[1]].append(slot[2:4])
    for appointment in rows.of["booking.appointments"]:
        if appointment[4] != "cancelled":
            times[appointment[3]].append(appointment[5:7])

    for theirs in times.values():
        in_order = sorted(theirs)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(in_order))


def test_visits_lie_on_the_right_side_of_now() -> None:
    """What is over was completed, missed or left; what lies ahead is booked; and each was booked before it began."""
    people, _ = people_rows(PLAN, "hash")
    appointment = COLUMNS["booking.appointments"].index

    for row in doctor_rows(PLAN, people, range(PLAN.doctors)).of["booking.appointments"]:
        is_over = row[appointment("ends_at")] <= NOW
        assert is_over == (row[appointment("status")] in {"completed", "no_show"}) or row[4] == "cancelled"
        assert PLAN.published_at <= row[appointment("created_at")] < row[appointment("starts_at")]
        assert row[appointment("created_at")] <= NOW - timedelta(days=2)
        completed_at = row[appointment("completed_at")]
        assert completed_at is None or completed_at <= row[appointment("ends_at")]


def test_every_specialization_comes_to_every_region() -> None:
    """A search for both finds somebody, once there are enough doctors."""
    seen = {(doctor(number).specialization, doctor(number).region.time_zone) for number in range(1_000)}

    assert len(seen) == 12 * 7


@pytest.mark.parametrize("text", ["", "many", "1.5", "0", "-1e6", "999", "1e8", "nan", "inf", str(LARGEST + 1)])
def test_a_size_that_cannot_be_made_is_refused_in_one_sentence(text: str) -> None:
    """Nobody finds out after ten minutes what they have mistyped."""
    with pytest.raises(PlanProblem, match="--slots is a"):
        Plan(parsed_size(text), seed=1, now=NOW)


def test_a_seed_that_would_not_fit_into_an_address_is_refused() -> None:
    """A seed is part of everybody's address."""
    with pytest.raises(PlanProblem, match="--seed"):
        Plan(1_000, seed=-1, now=NOW)
