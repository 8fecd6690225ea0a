"""Histories that keep every promise, however odd they look."""

from collections.abc import Callable

from tests.twin.history.model import Kind, Outcome
from tests.unit.twin.story import ANN, BEN, DOC, OTHER, SLOT, Case, Story, final, node, row

GOOD: dict[str, Callable[[], Case]] = {}


def good(make: Callable[[], Case]) -> Callable[[], Case]:
    """Put the history into the corpus."""
    GOOD[make.__name__] = make
    return make


@good
def nothing_happened() -> Case:
    return Case([], final(node()))


@good
def booked_and_seen() -> Case:
    story = Story()
    story.add(Kind.PUBLISH, DOC, slots=(SLOT,))
    story.search(shows=[SLOT])
    story.book(ANN, "a1")
    story.read(ANN, "a1")
    story.search(hides=[SLOT])
    story.refused(BEN)
    return Case(story.history, final(node(row("a1")), delivered=[("appointment.booked", "a1")]))


@good
def one_of_two_at_once_in_one_order() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 5))
    story.refused(BEN, at=(0, 1))
    return Case(story.history, final(node(row("a1"))))


@good
def one_of_two_at_once_in_the_other_order() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(4, 5))
    story.refused(BEN, at=(0, 5))
    return Case(story.history, final(node(row("a1"))))


@good
def booked_while_a_cancellation_was_under_way() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 1))
    story.book(BEN, "b1", at=(2, 3))
    story.cancel(ANN, "a1", at=(1.5, 4))
    return Case(story.history, final(node(row("a1", status="cancelled"), row("b1", BEN))))


@good
def an_unknown_booking_that_happened() -> Case:
    story = Story()
    story.book(ANN)
    story.refused(BEN)
    return Case(story.history, final(node(row("a1"))))


@good
def an_unknown_booking_that_did_not_happen() -> Case:
    story = Story()
    story.book(ANN)
    story.book(BEN, "b1")
    return Case(story.history, final(node(row("b1", BEN))))


@good
def an_unknown_booking_that_happened_late() -> Case:
    story = Story()
    story.book(ANN)
    story.search(shows=[SLOT])
    story.book(BEN, "b1")
    story.cancel(BEN, "b1")
    story.wait(5)
    story.refused(BEN)
    return Case(story.history, final(node(row("b1", BEN, "cancelled"), row("a1"))))


@good
def an_unknown_booking_seen_and_cancelled() -> Case:
    story = Story()
    story.book(ANN)
    story.read(ANN, "a1")
    story.cancel(ANN, "a1")
    story.book(BEN, "b1")
    return Case(story.history, final(node(row("a1", status="cancelled"), row("b1", BEN))))


@good
def an_unknown_booking_that_a_repetition_settled() -> Case:
    story = Story()
    story.book(ANN, key="k")
    story.refused(ANN, "key-in-progress", key="k")
    story.book(ANN, "a1", key="k", reply=b"x")
    story.book(ANN, "a1", key="k", reply=b"x")
    return Case(story.history, final(node(row("a1"))))


@good
def an_unknown_booking_that_was_refused_in_the_end() -> Case:
    story = Story()
    story.book(ANN, key="k", at=(0, 1))
    story.book(BEN, "b1", at=(0, 1))
    story.refused(ANN, key="k")
    story.refused(ANN, key="k")
    return Case(story.history, final(node(row("b1", BEN))))


@good
def an_unknown_cancellation_that_did_not_happen() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1", outcome=Outcome.UNKNOWN)
    story.refused(BEN)
    return Case(story.history, final(node(row("a1"))))


@good
def an_unknown_cancellation_that_happened() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1", outcome=Outcome.UNKNOWN)
    story.book(BEN, "b1")
    return Case(story.history, final(node(row("a1", status="cancelled"), row("b1", BEN))))


@good
def moved() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.move(ANN, "a1", "a2")
    story.book(BEN, "b1")
    story.read(ANN, "a1", "cancelled")
    rows = row("a1", status="rescheduled"), row("a2", slot=OTHER), row("b1", BEN)
    return Case(story.history, final(node(*rows)))


@good
def an_unknown_move_that_happened() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.move(ANN, "a1")
    return Case(story.history, final(node(row("a1", status="rescheduled"), row("a2", slot=OTHER))))


@good
def an_unknown_move_that_did_not_happen() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.move(ANN, "a1")
    return Case(story.history, final(node(row("a1"))))


@good
def two_unknown_moves_of_which_one_happened() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.move(ANN, "a1", slot=OTHER)
    story.move(ANN, "a1", slot="slot-3")
    rows = row("a1", status="rescheduled"), row("a2", slot="slot-3")
    return Case(story.history, final(node(*rows, slots={"slot-3": "booked"})))


@good
def somebody_elses_write_not_seen_yet() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.read(DOC, "a1", "booked")
    story.read(DOC, "a1", "cancelled")
    return Case(story.history, final(node(row("a1", status="cancelled"))))


@good
def a_slot_that_opened_is_searched_at_once() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.search(hides=[SLOT])
    story.search(shows=[SLOT])
    return Case(story.history, final(node(row("a1", status="cancelled"))))


@good
def a_search_while_a_booking_was_under_way() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 2))
    story.search(shows=[SLOT], at=(1, 3))
    story.search(hides=[SLOT], at=(1, 1.5))
    return Case(story.history, final(node(row("a1"))))


@good
def visited_and_prescribed() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.add(Kind.START, DOC, appointment="a1")
    story.add(Kind.PRESCRIBE, DOC, appointment="a1", prescription="p1")
    story.cancel(ANN, "a1", refused="step-not-allowed")
    story.read(ANN, "a1", "booked")
    story.read(ANN, "a1", "in_progress")
    return Case(story.history, final(node(row("a1", status="in_progress"), prescriptions={"p1": "a1"})))


@good
def refused_for_the_moment_and_never_asked_again() -> Case:
    story = Story()
    story.refused(ANN, "overloaded")
    story.refused(ANN, "unavailable")
    story.book(BEN, "b1")
    return Case(story.history, final(node(row("b1", BEN))))


@good
def looked_at_twice() -> Case:
    story = Story()
    story.book(ANN, "a1")
    looks = {("appointment.book", "a1"): 1, ("appointment.read", "a1"): 2}
    return Case(story.history, final(node(row("a1"), audit=looks)))
