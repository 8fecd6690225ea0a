"""What was acknowledged must be there after the load, and nothing twice."""

from collections.abc import Mapping

import pytest

from telemed_load.correctness import Kept, look

SAID = {"one": {"patient": "p", "slot": "s", "status": "booked"}}


class Shown:
    """Shows what it is told to."""

    described = "a test"

    def __init__(self, *kept: Kept, shows_running: bool = True) -> None:
        self._kept = list(kept)
        self.shows_running = shows_running

    def appointments(self, acknowledged: Mapping[str, Mapping[str, str]]) -> list[Kept]:
        del acknowledged
        return self._kept


def test_what_is_there_as_it_was_told_is_fine() -> None:
    """Others' appointments do not matter."""
    assert look(Shown(Kept("one", "s", "booked"), Kept("other", "t", "booked")), SAID) == []


@pytest.mark.parametrize(
    ("kept", "word"),
    [
        ([], "is not there"),
        ([Kept("one", "t", "booked")], "has t"),
        ([Kept("one", "s", "cancelled")], "is cancelled"),
        ([Kept("one", "s", "booked"), Kept("two", "s", "in_progress")], "has 2 appointments"),
    ],
)
def test_what_is_not_as_it_was_told_is_named(kept: list[Kept], word: str) -> None:
    """Lost, moved, cancelled by nobody, double."""
    (broken,) = look(Shown(*kept), SAID)

    assert word in broken


def test_a_slot_that_was_cancelled_and_booked_again_has_one_appointment() -> None:
    """A cancelled one occupies nothing."""
    assert look(Shown(Kept("one", "s", "booked"), Kept("old", "s", "cancelled")), SAID) == []


@pytest.mark.parametrize("status", ["booked", "cancelled"])
def test_a_step_whose_answer_never_came_may_have_been_done(status: str) -> None:
    """Either is right."""
    said = {"one": SAID["one"] | {"status": "cancelling"}}

    assert look(Shown(Kept("one", "s", status)), said) == []


def test_a_visit_that_was_begun_is_not_merely_booked() -> None:
    """An acknowledged start that is lost is told, but where a visit that runs is shown as booked."""
    said = {"one": SAID["one"] | {"status": "in_progress"}}

    assert look(Shown(Kept("one", "s", "in_progress")), said) == []
    (broken,) = look(Shown(Kept("one", "s", "booked")), said)
    assert "last told to be in_progress and is booked" in broken
    assert look(Shown(Kept("one", "s", "booked"), shows_running=False), said) == []
