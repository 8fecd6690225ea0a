"""Everything that the checker can accuse a history of."""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What is wrong, in words that stand in results."""

    # What a client alone can see is wrong
    TIME_BACKWARDS = "ended before it began"
    REPLY_DIFFERS = "two answers under one key differ"
    EFFECT_TWICE = "one request took effect twice"
    EFFECT_SHARED = "two requests were given one effect"
    FOREIGN_REPLY = "answered with another patient's appointment"
    FOREIGN_READ = "shown to somebody who takes no part in it"
    WRONG_SLOT = "answered with another slot than asked for"
    # What no order of one slot's operations explains
    DOUBLE_ACK = "slot acknowledged to two"
    BOOKED_WITHDRAWN = "booked a slot that was withdrawn"
    WITHDRAWN_BOOKED = "withdrew a slot that was booked"
    ENDED_TWICE = "acknowledged a step that the appointment could not take"
    PRESCRIBED_OUTSIDE = "prescribed outside of a visit"
    REFUSED_OPEN = "slot refused as taken though it was open"
    REFUSAL_UNEXPLAINED = "refused for a reason that was none"
    STALE_OWN_READ = "did not see an own acknowledged write"
    READ_BACKWARDS = "saw an older state than before"
    READ_OF_NOTHING = "saw what never was"
    SEARCH_SHOWS_BOOKED = "search showed a slot after its booking was acknowledged"
    SEARCH_HIDES_OPEN = "search left out an open slot for too long"
    UNDECIDED = "too tangled to be judged"
    # What does not agree with the final state
    LOST_ACK = "acknowledged write is not there"
    RESURRECTED = "appointment is alive again though its end was acknowledged"
    DOUBLE_BOOKING = "slot with two appointments"
    FROM_NOWHERE = "appointment that nobody asked for"
    MOVED_TO_BOTH = "rescheduling left both appointments"
    MOVED_TO_NEITHER = "rescheduling left neither appointment"
    SLOT_DISAGREES = "slot's status is not that of its appointment"
    FINAL_UNEXPLAINED = "no order leads to the final state"
    AUDIT_MISSING = "without its audit record"
    AUDIT_TWICE = "with two audit records of one act"
    AUDIT_GHOST = "audit record of what is not there"
    EVENT_MISSING = "without its event"
    EVENT_TWICE = "with two events of one act"
    EVENT_GHOST = "event of what is not there"
    EVENT_UNDELIVERED = "event that was not delivered"
    EFFECT_GHOST = "effect delivered for a commit that was lost"
    MISSING_ON_REPLICA = "on the primary but not on a replica"
    REPLICA_DIFFERS = "a replica has something else than the primary"


LOSSES = frozenset(
    {Fault.LOST_ACK, Fault.RESURRECTED, Fault.MOVED_TO_NEITHER, Fault.AUDIT_MISSING, Fault.EVENT_MISSING}
    | {Fault.EVENT_UNDELIVERED, Fault.MISSING_ON_REPLICA, Fault.FINAL_UNEXPLAINED}
)
DOUBLES = frozenset(
    {Fault.DOUBLE_ACK, Fault.DOUBLE_BOOKING, Fault.EFFECT_TWICE, Fault.EFFECT_SHARED, Fault.MOVED_TO_BOTH}
    | {Fault.AUDIT_TWICE, Fault.EVENT_TWICE, Fault.ENDED_TWICE}
)
GHOSTS = frozenset(
    {Fault.AUDIT_GHOST, Fault.EVENT_GHOST, Fault.EFFECT_GHOST, Fault.FROM_NOWHERE, Fault.READ_OF_NOTHING}
    | {Fault.REPLICA_DIFFERS}
)
STALE = frozenset({Fault.STALE_OWN_READ, Fault.READ_BACKWARDS})


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault, and what it is about."""

    fault: Fault
    about: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.fault.value}: {self.about}"
