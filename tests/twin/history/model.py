"""What clients invoked and what they saw, and what was found in the databases afterwards. Plain values, no I/O."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

OCCUPYING = frozenset({"booked", "in_progress", "completed", "no_show"})
# Refusals after which the same request may yet succeed: this attempt did nothing, another one may.
TRANSIENT = frozenset(
    {"key-in-progress", "slot-contended", "overloaded", "unavailable", "deadline-exceeded", "request-timeout"}
)


class Kind(StrEnum):
    """What was asked for."""

    PUBLISH = "publish"
    WITHDRAW = "withdraw"
    BOOK = "book"
    CANCEL = "cancel"
    RESCHEDULE = "reschedule"
    START = "start"
    COMPLETE = "complete"
    PRESCRIBE = "prescribe"
    READ = "read"
    LIST = "list"
    SEARCH = "search"


class Outcome(StrEnum):
    """What the client may conclude."""

    OK = "ok"  # done, or shown
    FAIL = "fail"  # surely not done
    UNKNOWN = "unknown"  # no answer, a reset, 503 outcome-unknown: perhaps done, perhaps later


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An appointment as a reply showed it."""

    id: str
    slot: str
    patient: str
    doctor: str = "doctor"
    status: str = "booked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One attempt of one client. Instants are of one monotonic clock; a repetition has the key of the first attempt."""

    kind: Kind
    client: str
    begin: float
    end: float  # when the answer was there, or when the client gave up
    outcome: Outcome
    key: str | None = None
    slot: str | None = None  # the slot that was wanted
    appointment: str | None = None  # the appointment that it is about
    refused: str | None = None  # of a failure: the problem's slug
    seen: tuple[Seen, ...] = ()
    slots: tuple[str, ...] = ()  # of a publication: what was published
    shown: frozenset[str] = frozenset()  # of a search: the open slots
    missing: frozenset[str] = frozenset()  # of a search: known slots of its range that were not among them
    prescription: str | None = None
    reply: bytes = b""  # status, headers that are stored, and body: what must be the same when it is given again


@dataclass(frozen=True, slots=True)
class Request:
    """All attempts under one key, taken together: one wish that may have one effect."""

    attempts: tuple[Operation, ...]
    answer: Operation | None  # the first final one

    @property
    def kind(self) -> Kind:
        """Give what was asked for."""
        return self.attempts[0].kind

    @property
    def client(self) -> str:
        """Give who asked."""
        return self.attempts[0].client

    @property
    def first(self) -> Operation:
        """Give the first attempt, which says what was wanted."""
        return self.attempts[0]

    @property
    def begin(self) -> float:
        """Give the earliest instant at which it can have taken effect."""
        return min((one.begin for one in self.attempts if not _is_nothing(one)), default=math.inf)

    @property
    def end(self) -> float:
        """Give the instant by which it had taken effect, if it did: infinity while nobody knows."""
        return self.answer.end if self.answer else math.inf

    @property
    def outcome(self) -> Outcome:
        """Give what all the attempts say together."""
        if self.answer is not None:
            return self.answer.outcome
        return Outcome.FAIL if all(map(_is_nothing, self.attempts)) else Outcome.UNKNOWN

    @property
    def result(self) -> Seen | None:
        """Give the appointment that it was answered with."""
        if self.answer is None or self.answer.outcome is not Outcome.OK or not self.answer.seen:
            return None
        return self.answer.seen[0]


def _is_nothing(attempt: Operation) -> bool:
    return attempt.outcome is Outcome.FAIL and attempt.refused in TRANSIENT


def is_final(attempt: Operation) -> bool:
    """Tell whether the attempt settles its request."""
    return attempt.outcome is Outcome.OK or (attempt.outcome is Outcome.FAIL and attempt.refused not in TRANSIENT)


def requests_of(history: Iterable[Operation]) -> list[Request]:
    """Take the attempts under one client's key together; what has no key stands for itself."""
    groups: dict[tuple[str, str, str], list[Operation]] = {}
    for place, one in enumerate(history):
        name = one.key if one.key is not None else f"\x00{place}"
        groups.setdefault((one.client, one.kind.value, name), []).append(one)
    found = []
    for attempts in groups.values():
        attempts.sort(key=lambda one: one.begin)
        final = min((one for one in attempts if is_final(one)), key=lambda one: one.end, default=None)
        found.append(Request(tuple(attempts), final))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An appointment as a node has it."""

    id: str
    slot: str
    patient: str
    status: str = "booked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one database node holds at the end."""

    name: str
    appointments: tuple[Row, ...] = ()
    slots: Mapping[str, str] = field(default_factory=dict)  # status of each
    prescriptions: Mapping[str, str] = field(default_factory=dict)  # the consultation of each
    audit: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (action, about whom): how many
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (type, about whom): how many
    undelivered: frozenset[tuple[str, str]] = frozenset()  # events that wait though the outbox was drained


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What was found after the recovery; the primary is the first node."""

    nodes: tuple[Node, ...]
    # Effects that were seen to be delivered at any moment on any node, those included that are no more.
    delivered: frozenset[tuple[str, str]] = frozenset()

    @property
    def primary(self) -> Node:
        """Give the node that decides."""
        return self.nodes[0]
