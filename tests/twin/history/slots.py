"""One slot as an automaton: who has it, who had it, and what may be seen of that."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from tests.twin.history.model import OCCUPYING, Row

Take = Callable[["State"], "State | None"]


@dataclass(frozen=True, slots=True)
class Claim:
    """An appointment on the slot. The id is None while only its patient's request is known."""

    request: int
    patient: str
    id: str | None
    status: str = "booked"


class State(NamedTuple):
    """What is so at one instant."""

    stage: str  # none, open, booked, withdrawn
    current: Claim | None = None
    ended: frozenset[Claim] = frozenset()


UNPUBLISHED = State("none")
OPEN = State("open")


@dataclass(frozen=True, slots=True)
class Identities:
    """Which appointments are surely whose: only what is not among them may turn out to be a nameless claim."""

    acknowledged: frozenset[str]

    def named(self, claim: Claim | None, appointment: str, patient: str | None) -> Claim | None:
        """Give the claim with this name, if it can be this appointment."""
        if claim is None or (patient is not None and claim.patient != patient):
            return None
        if claim.id == appointment:
            return claim
        if claim.id is None and appointment not in self.acknowledged:
            return replace(claim, id=appointment)
        return None


def publish(state: State) -> State | None:
    """Make the slot bookable."""
    return OPEN if state.stage == "none" else None


def withdraw(state: State) -> State | None:
    """Take an open slot back."""
    return state._replace(stage="withdrawn") if state.stage == "open" else None


def claim(new: Claim) -> Take:
    """Book it."""
    return partial(_claim, new)


def step(ids: Identities, appointment: str, patient: str | None, *, status: str, allowed: frozenset[str]) -> Take:
    """Take the appointment from one of the states to another; those that do not occupy open the slot again."""
    return partial(_step, ids, appointment, patient, status, allowed)


def looks(stages: frozenset[str]) -> Take:
    """See the slot in one of these stages."""
    return partial(_looks, stages)


def shows(ids: Identities, appointment: str, patient: str | None, statuses: frozenset[str]) -> Take:
    """See the appointment in one of these states."""
    return partial(_shows, ids, appointment, patient, statuses)


def lacks(appointment: str) -> Take:
    """See that there is no such appointment."""
    return partial(_lacks, appointment)


def ends_as(ids: Identities, status: str, rows: tuple[Row, ...]) -> Take:
    """See the whole slot, as it is at the end."""
    return partial(_ends_as, ids, status, rows)


def _claim(new: Claim, state: State) -> State | None:
    return State("booked", new, state.ended) if state.stage == "open" else None


def _step(
    ids: Identities, appointment: str, patient: str | None, status: str, allowed: frozenset[str], state: State
) -> State | None:
    found = ids.named(state.current, appointment, patient)
    if found is None or found.status not in allowed:
        return None
    after = replace(found, status=status)
    if status in OCCUPYING:
        return state._replace(current=after)
    return State("open", None, state.ended | {after})


def _looks(stages: frozenset[str], state: State) -> State | None:
    return state if state.stage in stages else None


def _shows(
    ids: Identities, appointment: str, patient: str | None, statuses: frozenset[str], state: State
) -> State | None:
    found = ids.named(state.current, appointment, patient)
    if found is not None and found.status in statuses:
        return state._replace(current=found)
    # A sorted walk, so that the same history is judged the same way every time.
    for one in sorted(state.ended, key=lambda each: (each.id is None, each.request)):
        found = ids.named(one, appointment, patient)
        if found is not None and found.status in statuses:
            return state._replace(ended=state.ended - {one} | {found})
    return None


def _lacks(appointment: str, state: State) -> State | None:
    present = {one.id for one in (state.current, *state.ended) if one is not None}
    return None if appointment in present else state


def _ends_as(ids: Identities, status: str, rows: tuple[Row, ...], state: State) -> State | None:
    if state.stage != status:
        return None
    after: State | None = state
    for row in sorted(rows, key=lambda one: one.id not in ids.acknowledged):
        after = after and _shows(ids, row.id, row.patient, frozenset({row.status}), after)
    held = len(state.ended) + (state.current is not None)
    return after if held == len(rows) else None
