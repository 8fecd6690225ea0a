"""Admission: who is let in by how full the process is, and who is told to come back when."""

import pytest

from telemed.kernel.http.admission import COME_BACK_SECONDS, EXPORTS_AT_ONCE, LATENESS_SECONDS, SHARES, Admission, Place
from telemed.kernel.priority import Priority
from telemed.kernel.telemetry.metrics import Metrics


class Process:
    """An admission with a limit of 100, and an event loop that is as late as the test says."""

    def __init__(self, limit: int = 100) -> None:
        self.lateness = 0.0
        self.metrics = Metrics()
        self.admission = Admission(limit, lateness_seconds=lambda: self.lateness, metrics=self.metrics)

    def admit(self, priority: Priority) -> Place | None:
        """Let one in, if there is a place."""
        place = self.admission.place(priority)
        return place if place.take() is None else None

    def fill(self, priority: Priority) -> int:
        """Let in as many as there are places; gives their number."""
        number = 0
        while self.admit(priority):
            number += 1
        return number

    def refused(self, priority: Priority, reason: str) -> float:
        """Read the counter."""
        value: float = self.metrics.refused.labels(priority, reason)._value.get()
        return value


def test_each_priority_has_its_share() -> None:
    """Alone, it fills the process up to there and no further."""
    assert Process().fill(Priority.CRITICAL) == 100
    assert Process().fill(Priority.NORMAL) == 85
    assert Process().fill(Priority.BROWSING) == 60
    assert Process().fill(Priority.EXPORT) == EXPORTS_AT_ONCE


def test_whoever_is_more_urgent_gets_in_when_others_are_refused() -> None:
    """A storm of searches leaves room for those who log in, and both for those who book."""
    process = Process()
    assert process.fill(Priority.BROWSING) == 60
    assert process.admit(Priority.EXPORT) is None
    assert process.fill(Priority.NORMAL) == 25
    assert process.admit(Priority.BROWSING) is None
    assert process.fill(Priority.CRITICAL) == 15


def test_what_is_full_counts_everybody() -> None:
    """Fifteen bookings are enough to have no time for an export."""
    process = Process()
    for _ in range(14):
        assert process.admit(Priority.CRITICAL)
    assert process.admit(Priority.EXPORT)
    assert process.admit(Priority.EXPORT) is None
    assert process.refused(Priority.EXPORT, "full") == 1
    assert process.refused(Priority.EXPORT, "exports") == 0


def test_a_place_that_is_given_back_is_free() -> None:
    """Once, however often it is given back; and one that was refused gives nothing."""
    process = Process(limit=1)
    held = process.admit(Priority.CRITICAL)
    assert held is not None
    refused = process.admission.place(Priority.CRITICAL)
    assert refused.take() is not None
    refused.free()
    assert process.admit(Priority.CRITICAL) is None
    held.free()
    held.free()
    assert process.admit(Priority.CRITICAL)
    assert process.admit(Priority.CRITICAL) is None


@pytest.mark.parametrize("priority", Priority)
def test_the_smallest_limit_lets_one_of_each_in(priority: Priority) -> None:
    """A share of less than one would lock a priority out for ever."""
    assert Process(limit=1).fill(priority) == 1


def test_a_late_event_loop_refuses_the_least_urgent_first() -> None:
    """Browsing and exports when reads miss their promise, others when every request takes seconds, critical never."""
    process = Process()

    def admitted() -> set[Priority]:
        return {priority for priority in Priority if process.admission.refusal(priority) is None}

    assert admitted() == set(Priority)
    process.lateness = 0.3
    assert admitted() == {Priority.CRITICAL, Priority.NORMAL}
    process.lateness = 1.1
    assert admitted() == {Priority.CRITICAL}
    process.lateness = 60.0
    assert admitted() == {Priority.CRITICAL}
    assert process.refused(Priority.BROWSING, "late") == 3


def test_less_room_for_one_priority_leaves_the_others_theirs() -> None:
    """What a service cannot bear just now is refused at the door, however empty the process is."""
    process = Process()
    for _ in range(3):
        assert process.admission.place(Priority.BROWSING, room=3).take() is None
    refused = process.admission.place(Priority.BROWSING, room=3)
    assert refused.refusal() is not None
    assert refused.take() is not None
    assert process.refused(Priority.BROWSING, "overrun") == 2
    assert process.admit(Priority.BROWSING), "without that bound there is room"
    assert process.fill(Priority.CRITICAL) == 96


def test_nobody_is_told_to_come_back_with_the_others() -> None:
    """The pause is spread, and longer for those who can wait."""
    process = Process(limit=1)
    assert process.admit(Priority.CRITICAL)
    for priority in Priority:
        pauses = set()
        for _ in range(500):
            refusal = process.admission.refusal(priority)
            assert refusal is not None
            pauses.add(int(refusal.response_headers()["Retry-After"]))
        soonest, latest = COME_BACK_SECONDS[priority]
        assert pauses == set(range(soonest, latest + 1))
        assert len(pauses) > 1


def test_the_order_is_the_same_everywhere() -> None:
    """Places, lateness and pauses agree on who is more urgent."""
    assert [SHARES[priority] for priority in Priority] == sorted(SHARES.values(), reverse=True)
    assert [COME_BACK_SECONDS[priority] for priority in Priority] == sorted(COME_BACK_SECONDS.values())
    assert Priority.CRITICAL not in LATENESS_SECONDS


def test_metrics_say_who_is_inside() -> None:
    """Read when asked for; every combination of labels is there from the start."""
    process = Process()
    assert process.admit(Priority.CRITICAL)
    inside = {
        sample.labels["priority"]: sample.value
        for metric in process.metrics.in_flight.collect()
        for sample in metric.samples
    }
    assert inside == {"critical": 1, "normal": 0, "browsing": 0, "export": 0}
