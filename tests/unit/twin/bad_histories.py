"""Histories that break a promise, each in one way; the name of the function says how."""

from collections.abc import Callable
from dataclasses import replace

from tests.twin.history.faults import Fault
from tests.twin.history.model import Kind, Outcome, Seen
from tests.unit.twin.story import ANN, BEN, DOC, OTHER, SLOT, Case, Story, final, node, row

BAD: dict[str, tuple[Fault, Callable[[], Case]]] = {}


def bad(fault: Fault) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Put the history into the corpus, under the fault of which it must be accused."""

    def keep(make: Callable[[], Case]) -> Callable[[], Case]:
        BAD[make.__name__] = (fault, make)
        return make

    return keep


# --- what no order of a slot's operations explains


@bad(Fault.DOUBLE_ACK)
def one_slot_acknowledged_to_two() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.book(BEN, "b1")
    return Case(story.history)


@bad(Fault.DOUBLE_ACK)
def one_slot_acknowledged_to_two_at_once() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 5))
    story.book(BEN, "b1", at=(0, 5))
    return Case(story.history)


@bad(Fault.DOUBLE_ACK)
def booked_again_before_anybody_asked_to_cancel() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 1))
    story.book(BEN, "b1", at=(2, 3))
    story.cancel(ANN, "a1", at=(4, 5))
    return Case(story.history)


@bad(Fault.DOUBLE_ACK)
def moved_into_a_slot_that_was_booked() -> Case:
    story = Story()
    story.book(BEN, "b1", slot=OTHER)
    story.book(ANN, "a1")
    story.move(ANN, "a1", "a2")
    return Case(story.history)


@bad(Fault.DOUBLE_ACK)
def the_slot_of_a_refused_cancellation_was_given_away() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1", refused="appointment-begun")
    story.book(BEN, "b1")
    return Case(story.history)


@bad(Fault.BOOKED_WITHDRAWN)
def a_withdrawn_slot_was_booked() -> Case:
    story = Story()
    story.add(Kind.WITHDRAW, DOC, slot=SLOT)
    story.book(ANN, "a1")
    return Case(story.history)


@bad(Fault.WITHDRAWN_BOOKED)
def a_booked_slot_was_withdrawn() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.add(Kind.WITHDRAW, DOC, slot=SLOT)
    return Case(story.history)


@bad(Fault.ENDED_TWICE)
def one_appointment_cancelled_under_two_keys() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.cancel(DOC, "a1", patient=ANN)
    return Case(story.history)


@bad(Fault.ENDED_TWICE)
def cancelled_and_started() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1", at=(2, 4))
    story.add(Kind.START, DOC, appointment="a1", at=(2, 5))
    return Case(story.history)


@bad(Fault.ENDED_TWICE)
def moved_after_it_was_cancelled() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.move(ANN, "a1", "a2")
    return Case(story.history)


@bad(Fault.PRESCRIBED_OUTSIDE)
def prescribed_before_the_visit_began() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.add(Kind.PRESCRIBE, DOC, appointment="a1", prescription="p1")
    story.add(Kind.START, DOC, appointment="a1")
    return Case(story.history)


@bad(Fault.REFUSED_OPEN)
def a_cancelled_slot_never_bookable_again() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.refused(BEN)
    return Case(story.history)


@bad(Fault.REFUSED_OPEN)
def refused_as_taken_though_nobody_had_it() -> Case:
    story = Story()
    story.refused(BEN)
    return Case(story.history)


@bad(Fault.REFUSED_OPEN)
def refused_because_of_a_booking_that_came_later() -> Case:
    story = Story()
    story.refused(BEN, at=(0, 1))
    story.book(ANN, "a1", at=(2, 3))
    return Case(story.history)


@bad(Fault.REFUSAL_UNEXPLAINED)
def a_published_slot_not_found() -> Case:
    story = Story()
    story.add(Kind.PUBLISH, DOC, slots=(SLOT,))
    story.refused(ANN, "not-found")
    return Case(story.history)


# --- reads


@bad(Fault.STALE_OWN_READ)
def an_own_booking_not_found() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.not_found(ANN, "a1")
    return Case(story.history)


@bad(Fault.STALE_OWN_READ)
def an_own_cancellation_not_seen() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.read(ANN, "a1", "booked")
    return Case(story.history)


@bad(Fault.STALE_OWN_READ)
def an_own_booking_missing_in_the_list() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.add(Kind.LIST, ANN, missing=frozenset({"a1"}))
    return Case(story.history)


@bad(Fault.STALE_OWN_READ)
def a_doctors_own_start_not_seen() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.add(Kind.START, DOC, appointment="a1")
    story.not_found(DOC, "a1")
    return Case(story.history)


@bad(Fault.READ_BACKWARDS)
def a_later_read_saw_an_older_state() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.read(DOC, "a1", "cancelled")
    story.read(DOC, "a1", "booked")
    return Case(story.history)


@bad(Fault.READ_OF_NOTHING)
def an_appointment_read_before_anybody_asked_for_it() -> Case:
    story = Story()
    story.read(ANN, "a1", at=(0, 1))
    story.book(ANN, "a1", at=(2, 3))
    return Case(story.history)


@bad(Fault.READ_OF_NOTHING)
def an_appointment_read_as_cancelled_that_nobody_cancelled() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.read(ANN, "a1", "cancelled")
    return Case(story.history)


@bad(Fault.ENDED_TWICE)
def the_cancellation_came_true_and_then_untrue() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1", outcome=Outcome.UNKNOWN)
    story.read(DOC, "a1", "cancelled")
    story.add(Kind.START, DOC, appointment="a1")
    return Case(story.history)


@bad(Fault.FOREIGN_READ)
def another_patients_appointment_was_shown() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.read(BEN, "a1", patient=ANN)
    return Case(story.history)


# --- search


@bad(Fault.SEARCH_SHOWS_BOOKED)
def search_showed_a_slot_after_its_booking() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.search(shows=[SLOT])
    return Case(story.history)


@bad(Fault.SEARCH_SHOWS_BOOKED)
def search_showed_a_slot_that_only_opened_later() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(0, 1))
    story.search(shows=[SLOT], at=(2, 3))
    story.cancel(ANN, "a1", at=(4, 5))
    return Case(story.history)


@bad(Fault.SEARCH_SHOWS_BOOKED)
def search_showed_a_withdrawn_slot() -> Case:
    story = Story()
    story.add(Kind.WITHDRAW, DOC, slot=SLOT)
    story.search(shows=[SLOT])
    return Case(story.history)


@bad(Fault.SEARCH_SHOWS_BOOKED)
def search_showed_where_somebody_had_moved_to() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.move(ANN, "a1", "a2")
    story.search(shows=[SLOT, OTHER])
    return Case(story.history)


@bad(Fault.SEARCH_HIDES_OPEN)
def search_hid_a_cancelled_slot_for_minutes() -> Case:
    story = Story()
    story.book(ANN, "a1")
    story.cancel(ANN, "a1")
    story.wait(120)
    story.search(hides=[SLOT])
    return Case(story.history)


# --- keys


@bad(Fault.REPLY_DIFFERS)
def a_repeated_request_got_other_bytes() -> Case:
    story = Story()
    story.book(ANN, "a1", key="k", reply=b"one")
    story.book(ANN, "a1", key="k", reply=b"another")
    return Case(story.history)


@bad(Fault.REPLY_DIFFERS)
def refused_under_the_key_that_had_succeeded() -> Case:
    story = Story()
    story.book(ANN, "a1", key="k")
    story.refused(ANN, key="k")
    return Case(story.history)


@bad(Fault.EFFECT_TWICE)
def two_appointments_for_one_key() -> Case:
    story = Story()
    story.book(ANN, "a1", key="k")
    story.book(ANN, "a2", key="k")
    return Case(story.history)


@bad(Fault.EFFECT_SHARED)
def two_keys_got_one_appointment() -> Case:
    story = Story()
    story.book(ANN, "a1", key="k1", at=(0, 3))
    story.book(ANN, "a1", key="k2", at=(0, 4))
    return Case(story.history)


@bad(Fault.FOREIGN_REPLY)
def a_key_got_another_patients_booking() -> Case:
    story = Story()
    story.book(ANN, "a1", key="k")
    story.book(BEN, "a1", key="k", patient=ANN)
    return Case(story.history)


@bad(Fault.WRONG_SLOT)
def another_slot_than_asked_for() -> Case:
    story = Story()
    story.book(ANN, "a1", seen=(Seen(id="a1", slot=OTHER, patient=ANN),))
    return Case(story.history)


@bad(Fault.TIME_BACKWARDS)
def an_answer_before_its_question() -> Case:
    story = Story()
    story.book(ANN, "a1", at=(5, 4))
    return Case(story.history)


# --- the final state


def booked() -> Story:
    """One acknowledged booking."""
    story = Story()
    story.book(ANN, "a1")
    return story


@bad(Fault.LOST_ACK)
def an_acknowledged_booking_is_gone() -> Case:
    return Case(booked().history, final(node()))


@bad(Fault.LOST_ACK)
def an_acknowledged_publication_is_gone() -> Case:
    story = Story()
    story.add(Kind.PUBLISH, DOC, slots=("slot-9",))
    return Case(story.history, final(node()))


@bad(Fault.LOST_ACK)
def an_acknowledged_start_is_gone() -> Case:
    story = booked()
    story.add(Kind.START, DOC, appointment="a1")
    return Case(story.history, final(node(row("a1"))))


@bad(Fault.LOST_ACK)
def an_acknowledged_prescription_is_gone() -> Case:
    story = booked()
    story.add(Kind.START, DOC, appointment="a1")
    story.add(Kind.PRESCRIBE, DOC, appointment="a1", prescription="p1")
    return Case(story.history, final(node(row("a1", status="in_progress"))))


@bad(Fault.RESURRECTED)
def a_cancelled_appointment_came_back() -> Case:
    story = booked()
    story.cancel(ANN, "a1")
    return Case(story.history, final(node(row("a1"))))


@bad(Fault.DOUBLE_BOOKING)
def two_appointments_on_one_slot() -> Case:
    story = booked()
    story.book(BEN)
    return Case(story.history, final(node(row("a1"), row("b1", BEN))))


@bad(Fault.FROM_NOWHERE)
def an_appointment_that_nobody_asked_for() -> Case:
    return Case(booked().history, final(node(row("a1"), row("b1", BEN, slot=OTHER))))


@bad(Fault.FROM_NOWHERE)
def a_surely_failed_booking_is_there() -> Case:
    story = Story()
    story.refused(ANN, "overloaded")
    return Case(story.history, final(node(row("a1"))))


@bad(Fault.EFFECT_TWICE)
def an_unknown_booking_took_effect_twice() -> Case:
    story = Story()
    story.book(ANN, key="k")
    return Case(story.history, final(node(row("a1", status="cancelled"), row("a2"))))


@bad(Fault.EFFECT_TWICE)
def an_acknowledged_booking_took_effect_twice() -> Case:
    story = Story()
    story.book(ANN, key="k")
    story.book(ANN, "a1", key="k")
    return Case(story.history, final(node(row("a1"), row("a2", status="cancelled"))))


@bad(Fault.MOVED_TO_BOTH)
def a_move_left_both() -> Case:
    story = booked()
    story.move(ANN, "a1", "a2")
    return Case(story.history, final(node(row("a1"), row("a2", slot=OTHER))))


@bad(Fault.MOVED_TO_BOTH)
def an_unknown_move_left_both() -> Case:
    story = booked()
    story.move(ANN, "a1")
    return Case(story.history, final(node(row("a1"), row("a2", slot=OTHER))))


@bad(Fault.MOVED_TO_NEITHER)
def a_move_left_neither() -> Case:
    story = booked()
    story.move(ANN, "a1", "a2")
    return Case(story.history, final(node(row("a1", status="rescheduled"))))


@bad(Fault.MOVED_TO_NEITHER)
def an_unknown_move_left_neither() -> Case:
    story = booked()
    story.move(ANN, "a1")
    return Case(story.history, final(node(row("a1", status="rescheduled"))))


@bad(Fault.SLOT_DISAGREES)
def a_cancelled_slot_stayed_booked() -> Case:
    story = booked()
    story.cancel(ANN, "a1")
    return Case(story.history, final(node(row("a1", status="cancelled"), slots={SLOT: "booked"})))


@bad(Fault.FINAL_UNEXPLAINED)
def cancelled_though_nobody_cancelled() -> Case:
    return Case(booked().history, final(node(row("a1", status="cancelled"))))


@bad(Fault.AUDIT_MISSING)
def a_booking_without_its_audit_record() -> Case:
    return Case(booked().history, final(node(row("a1"), audit={})))


@bad(Fault.AUDIT_TWICE)
def a_booking_with_two_audit_records() -> Case:
    return Case(booked().history, final(node(row("a1"), audit={("appointment.book", "a1"): 2})))


@bad(Fault.AUDIT_GHOST)
def an_audit_record_of_a_lost_booking() -> Case:
    story = Story()
    story.book(ANN)
    return Case(story.history, final(node(audit={("appointment.book", "a1"): 1})))


@bad(Fault.EVENT_MISSING)
def a_booking_without_its_event() -> Case:
    return Case(booked().history, final(node(row("a1"), events={})))


@bad(Fault.EVENT_TWICE)
def a_booking_with_two_events() -> Case:
    return Case(booked().history, final(node(row("a1"), events={("appointment.booked", "a1"): 2})))


@bad(Fault.EVENT_GHOST)
def an_event_without_its_appointment() -> Case:
    story = Story()
    story.book(ANN)
    return Case(story.history, final(node(events={("appointment.booked", "a1"): 1})))


@bad(Fault.EVENT_UNDELIVERED)
def an_event_that_nobody_delivered() -> Case:
    waits = frozenset({("appointment.booked", "a1")})
    return Case(booked().history, final(node(row("a1"), undelivered=waits)))


@bad(Fault.EFFECT_GHOST)
def an_effect_delivered_for_a_lost_commit() -> Case:
    story = Story()
    story.book(ANN)
    return Case(story.history, final(node(), delivered=[("appointment.booked", "a1")]))


@bad(Fault.MISSING_ON_REPLICA)
def on_the_primary_but_not_on_a_replica() -> Case:
    return Case(booked().history, final(node(row("a1")), replace(node(), name="replica")))


@bad(Fault.REPLICA_DIFFERS)
def a_replica_kept_what_the_primary_lost() -> Case:
    story = Story()
    story.book(ANN)
    return Case(story.history, final(node(), replace(node(row("a1")), name="replica")))


@bad(Fault.LOST_ACK)
def a_lost_booking_whose_slot_was_given_to_another() -> Case:
    story = booked()
    story.book(BEN)
    return Case(story.history, final(node(row("b1", BEN))))
