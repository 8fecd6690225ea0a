"""The checker rejects every bad history of the corpus for its reason, and accepts every good one."""

import time

import pytest
from tests.twin.history.checker import check
from tests.twin.history.faults import Fault
from tests.unit.twin.bad_histories import BAD
from tests.unit.twin.good_histories import GOOD
from tests.unit.twin.story import Story

SEEN_NOWHERE = {Fault.UNDECIDED}  # has a test of its own


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_rejected_for_its_reason(name: str) -> None:
    """Each breaks one promise; the checker names it."""
    fault, make = BAD[name]
    case = make()
    assert fault in {violation.fault for violation in check(case.history, case.final)}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_accepted(name: str) -> None:
    """Whatever really may happen is no fault."""
    case = GOOD[name]()
    assert check(case.history, case.final) == []


def test_search_may_be_given_time_to_hear_of_a_booking() -> None:
    """Within the bound it is no fault, beyond it is one."""
    story = Story()
    story.book("ann", "a1", slot="slot-1", at=(0, 1))
    story.search(shows=["slot-1"], at=(3, 4))
    assert check(story.history, gone_within_seconds=5) == []
    assert [one.fault for one in check(story.history, gone_within_seconds=1)] == [Fault.SEARCH_SHOWS_BOOKED]


def test_the_corpus_has_a_history_for_every_fault() -> None:
    """A fault that no history shows could be one that is never found."""
    assert len(BAD) >= 30
    assert {fault for fault, _ in BAD.values()} == set(Fault) - SEEN_NOWHERE


def test_ten_thousand_operations_take_seconds() -> None:
    """A campaign is judged in less time than it takes."""
    story = Story()
    for number in range(2000):
        slot = f"slot-{number % 100}"
        patient = f"patient-{number}"
        story.book(patient, f"a{number}", slot=slot)
        story.refused("ben", slot=slot)
        story.search(hides=[slot])
        story.read(patient, f"a{number}", patient=patient, slot=slot)
        story.cancel(patient, f"a{number}", slot=slot)
    started = time.process_time()
    assert check(story.history) == []
    assert len(story.history) == 10_000
    assert time.process_time() - started < 30
