"""Judges a history: is there an order that explains it, and does the final state keep what was acknowledged?"""

import math
from collections.abc import Iterator, Sequence

from tests.twin.history.answers import faults_of_answers
from tests.twin.history.faults import Fault, Violation
from tests.twin.history.ledger import faults_of_final
from tests.twin.history.model import Final, Kind, Operation, Outcome, Request, requests_of
from tests.twin.history.orders import Step, Undecided, first_unexplained
from tests.twin.history.slots import State
from tests.twin.history.timelines import Entry, Timeline, Timelines

_WRITES = {
    Kind.WITHDRAW: Fault.WITHDRAWN_BOOKED,
    Kind.PRESCRIBE: Fault.PRESCRIBED_OUTSIDE,
    Kind.CANCEL: Fault.ENDED_TWICE,
    Kind.RESCHEDULE: Fault.ENDED_TWICE,
    Kind.START: Fault.ENDED_TWICE,
    Kind.COMPLETE: Fault.ENDED_TWICE,
    "shown": Fault.SEARCH_SHOWS_BOOKED,
    "missing": Fault.SEARCH_HIDES_OPEN,
}


def check(
    history: Sequence[Operation], final: Final | None = None, *, gone_within_seconds: float = 0.0
) -> list[Violation]:
    """Give everything that is wrong with the history; nothing when the promises were kept.

    Without a final state only what the clients saw is judged. *gone_within_seconds* is how long after the
    acknowledgement of a booking search may still show its slot.
    """
    requests = requests_of(history)
    found = list(faults_of_answers(history, requests))
    direct = list(faults_of_final(requests, final)) if final is not None else []
    found += direct
    for timeline in Timelines(requests, final, gone_within_seconds=gone_within_seconds).of.values():
        found += _faults_of_slot(timeline, requests, is_final_bad=bool(direct))
    return found


def _faults_of_slot(timeline: Timeline, requests: Sequence[Request], *, is_final_bad: bool) -> Iterator[Violation]:
    steps = timeline.steps()
    try:
        culprit = first_unexplained(steps, timeline.initial)
        if culprit is None:
            return
        entry = timeline.entries[steps.index(culprit)]
        # The final state was told to be wrong already, and by a better name.
        if entry.kind != "final" or not is_final_bad:
            yield Violation(_named(timeline, entry, requests), f"{timeline.slot}: {culprit.name}, {_span(entry)}")
    except Undecided:
        yield Violation(Fault.UNDECIDED, timeline.slot)


def _named(timeline: Timeline, entry: Entry, requests: Sequence[Request]) -> Fault:
    if entry.kind in _WRITES:
        return _WRITES[entry.kind]
    if entry.kind == "final":
        return Fault.FINAL_UNEXPLAINED
    if entry.kind == "refusal":
        return Fault.REFUSED_OPEN if "slot-taken" in entry.note else Fault.REFUSAL_UNEXPLAINED
    if entry.kind == Kind.READ:
        return _read_named(timeline, entry)
    return _booking_named(timeline.slot, requests)


def _read_named(timeline: Timeline, entry: Entry) -> Fault:
    """Tell which part of its promise a read broke: the one without which it is explained."""
    place = timeline.entries.index(entry)
    if _is_explained(timeline.steps(without_own_reads=True), place, timeline.initial):
        return Fault.READ_BACKWARDS
    if _is_explained(timeline.steps(without_session=True), place, timeline.initial):
        return Fault.STALE_OWN_READ
    return Fault.READ_OF_NOTHING


def _is_explained(steps: Sequence[Step[State]], place: int, initial: State) -> bool:
    culprit = first_unexplained(steps, initial)
    return culprit is None or culprit.end > steps[place].end


def _booking_named(slot: str, requests: Sequence[Request]) -> Fault:
    on_slot = [r for r in requests if r.first.slot == slot and r.outcome is Outcome.OK]
    withdrawn = any(r.kind is Kind.WITHDRAW for r in on_slot)
    booked = [r for r in on_slot if r.kind in {Kind.BOOK, Kind.RESCHEDULE}]
    return Fault.BOOKED_WITHDRAWN if withdrawn and len(booked) == 1 else Fault.DOUBLE_ACK


def _span(entry: Entry) -> str:
    end = "never answered" if math.isinf(entry.end) else f"{entry.end:.3f}"
    return f"{entry.begin:.3f} to {end}"
