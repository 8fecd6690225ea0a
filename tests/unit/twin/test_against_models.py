"""The checker agrees with two models: one that makes histories, one that tries every order of a small one."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from tests.twin.history import orders
from tests.twin.history.checker import check
from tests.twin.history.faults import Fault
from tests.twin.history.model import Final, Kind, Operation, Outcome
from tests.unit.twin.story import OTHER, SLOT, Story, final, node, row

# That a busy machine makes data slowly says nothing about the checker.
PATIENT = [HealthCheck.too_slow]
PATIENTS = ("ann", "ben", "cem")


class Clinic:
    """One slot after the other, as it really is: every request is decided at one instant within its time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.story = Story()
        self.holder: dict[str, tuple[str, str] | None] = {SLOT: None, OTHER: None}
        self.rows: dict[str, tuple[str, str, str]] = {}  # of each appointment: patient, status, slot

    def live(self, steps: int) -> tuple[list[Operation], Final]:
        """Let so much happen, and look at the end."""
        for instant in range(steps):
            self._happens(float(instant))
        rows = [row(name, patient, status, slot) for name, (patient, status, slot) in self.rows.items()]
        return self.story.history, final(node(*rows))

    def _happens(self, instant: float) -> None:
        slot = self.random.choice((SLOT, OTHER))
        at = (instant - self.random.uniform(0, 3), instant + self.random.uniform(0, 3))
        answered = self.random.random() < 0.8
        holder = self.holder[slot]
        what = self.random.choice(("book", "cancel", "search", "read"))
        if what == "book":
            self._book(self.random.choice(PATIENTS), slot, at, answered=answered)
        elif what == "search":
            seen: dict[str, Any] = {"hides": [slot]} if holder else {"shows": [slot]}
            self.story.search(at=at, **seen)
        elif holder is not None and what == "cancel":
            self._cancel(*holder, slot, at, answered=answered)
        elif holder is not None:
            self.story.read(holder[0], holder[1], slot=slot, patient=holder[0], at=at)

    def _book(self, patient: str, slot: str, at: tuple[float, float], *, answered: bool) -> None:
        if self.holder[slot] is not None:
            self.story.refused(patient, slot=slot, at=at, outcome=Outcome.FAIL if answered else Outcome.UNKNOWN)
            return
        if not answered and self.random.random() < 0.5:
            self.story.book(patient, slot=slot, at=at)  # asked for, and nothing came of it
            return
        made = f"a{len(self.rows)}"
        self.holder[slot], self.rows[made] = (patient, made), (patient, "booked", slot)
        self.story.book(patient, made if answered else "", slot=slot, at=at)

    def _cancel(self, patient: str, made: str, slot: str, at: tuple[float, float], *, answered: bool) -> None:
        happens = answered or self.random.random() < 0.5
        outcome = {} if answered else {"outcome": Outcome.UNKNOWN}
        self.story.cancel(patient, made, slot=slot, at=at, **outcome)
        if happens:
            self.holder[slot], self.rows[made] = None, (patient, "cancelled", slot)


@given(st.integers(0, 10**9), st.integers(1, 60))
@example(seed=2076, steps=53)  # a read that might have been of either of two bookings without an answer
@settings(max_examples=150, suppress_health_check=PATIENT)
def test_what_a_real_clinic_does_is_accepted(seed: int, steps: int) -> None:
    """Overlapping requests, lost answers and late effects are no faults."""
    history, end = Clinic(seed).live(steps)
    assert check(history, end) == []


@given(st.integers(0, 10**9), st.data())
@settings(max_examples=150, suppress_health_check=PATIENT)
def test_an_acknowledged_booking_taken_out_of_the_end_is_missed(seed: int, data: st.DataObject) -> None:
    """Whichever acknowledged booking vanishes from the final state, somebody is told."""
    history, end = Clinic(seed).live(40)
    acked = {seen.id for one in history if one.kind is Kind.BOOK for seen in one.seen}
    if not acked:
        return
    lost = data.draw(st.sampled_from(sorted(acked)))
    rows = [kept for kept in end.primary.appointments if kept.id != lost]
    assert Fault.LOST_ACK in {violation.fault for violation in check(history, final(node(*rows)))}


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Give up to six operations on one slot, right or wrong."""
    story = Story()
    booked: list[tuple[str, str]] = []
    for number in range(draw(st.integers(2, 6))):
        begin = draw(st.integers(0, 8))
        at = (float(begin), begin + draw(st.sampled_from((0.5, 1.5, 4.0))))
        patient = draw(st.sampled_from(PATIENTS))
        what = draw(st.sampled_from(("book", "book", "unknown", "refused", "cancel", "shows", "hides")))
        if what == "book":
            booked.append((patient, f"a{number}"))
            story.book(patient, f"a{number}", at=at)
        elif what == "unknown":
            story.book(patient, at=at)
        elif what == "refused":
            story.refused(patient, at=at)
        elif what == "cancel" and booked:
            story.cancel(*draw(st.sampled_from(booked)), at=at)
        elif what == "shows":
            story.search(shows=[SLOT], at=at)
    return story.history


@given(small_histories())
@settings(max_examples=600, suppress_health_check=PATIENT)
def test_small_histories_are_judged_as_if_every_order_were_tried(history: list[Operation]) -> None:
    """The search agrees with trying all permutations, with and without each unknown operation."""
    expected = any(map(_fits, _orders(history)))
    event(f"fits: {expected}")
    assert (check(history) == []) == expected


def _orders(history: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    unknown = [one for one in history if one.outcome is Outcome.UNKNOWN]
    known = [one for one in history if one.outcome is not Outcome.UNKNOWN]
    for count in range(len(unknown) + 1):
        for happened in itertools.combinations(unknown, count):
            late = [replace(one, end=float("inf")) for one in happened]
            for order in itertools.permutations(known + late):
                if all(_may_follow(one, other) for one, other in itertools.combinations(order, 2)):
                    yield order


def _may_follow(one: Operation, later: Operation) -> bool:
    """Tell whether *later* may come after *one*: a search only has to have heard of acknowledged bookings."""
    is_claim = later.kind is Kind.BOOK and later.outcome is Outcome.OK
    return later.end >= one.begin or (one.kind is Kind.SEARCH and not is_claim)


def _fits(order: Sequence[Operation]) -> bool:
    holder: str | None = None
    for one in order:
        if one.kind is Kind.SEARCH or one.outcome is Outcome.FAIL:
            if (holder is None) != (one.kind is Kind.SEARCH):
                return False
        elif one.kind is Kind.CANCEL:
            if holder != one.appointment:
                return False
            holder = None
        elif holder is not None:
            return False
        else:
            holder = one.seen[0].id if one.seen else "unknown"
    return True


def test_a_tangle_is_not_called_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take for ever to judge is reported as not judged."""
    monkeypatch.setattr(orders, "MOST_STATES", 3)
    story = Story()
    for number in range(12):
        story.book(f"patient-{number}", at=(0, 1))
    story.refused("ann")
    story.book("ann", "a1")
    assert [violation.fault for violation in check(story.history)] == [Fault.UNDECIDED]
