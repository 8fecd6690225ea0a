"""Writes histories by hand: each call is one operation, half a second long, a second after the one before."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tests.twin.history.model import OCCUPYING, Final, Kind, Node, Operation, Outcome, Row, Seen

SLOT, OTHER = "slot-1", "slot-2"
ANN, BEN, DOC = "ann", "ben", "doc"
_ACTS = {
    "booked": ("appointment.book", "appointment.booked"),
    "cancelled": ("appointment.cancel", "appointment.cancelled"),
    "rescheduled": ("appointment.reschedule", "appointment.rescheduled"),
    "in_progress": ("consultation.start", "consultation.started"),
}


class Story:
    """A history as it grows. `at` gives an operation's begin and end instead of the next second."""

    def __init__(self) -> None:
        self.history: list[Operation] = []
        self._now = 0.0
        self._made = 0

    def add(self, kind: Kind, client: str, *, at: tuple[float, float] | None = None, **more: Any) -> Operation:
        """Write one operation down."""
        begin, end = at or (self._now, self._now + 0.5)
        self._now = max(self._now, end) + 0.5
        outcome = more.pop("outcome", Outcome.FAIL if "refused" in more else Outcome.OK)
        if kind not in {Kind.READ, Kind.LIST, Kind.SEARCH}:
            self._made += 1
            more.setdefault("key", f"key-{self._made}")
        one = Operation(kind=kind, client=client, begin=begin, end=end, outcome=outcome, **more)
        self.history.append(one)
        return one

    def book(self, client: str, made: str = "", slot: str = SLOT, **more: Any) -> Operation:
        """Book the slot and be given the appointment *made*; without one, nobody knows."""
        seen = more.pop("seen", (self._seen(made, slot, more.pop("patient", client)),) if made else ())
        if not made and "refused" not in more:
            more.setdefault("outcome", Outcome.UNKNOWN)
        return self.add(Kind.BOOK, client, slot=slot, seen=seen, **more)

    def refused(self, client: str, slug: str = "slot-taken", slot: str = SLOT, **more: Any) -> Operation:
        """Be refused the slot."""
        return self.add(Kind.BOOK, client, slot=slot, refused=slug, **more)

    def cancel(self, client: str, about: str, slot: str = SLOT, **more: Any) -> Operation:
        """Cancel the appointment."""
        patient = more.pop("patient", client)
        seen = () if more.get("outcome") or more.get("refused") else (self._seen(about, slot, patient, "cancelled"),)
        return self.add(Kind.CANCEL, client, appointment=about, seen=seen, **more)

    def move(self, client: str, about: str, made: str = "", slot: str = OTHER, **more: Any) -> Operation:
        """Move the appointment to the slot; without *made*, nobody knows."""
        seen = (self._seen(made, slot, client),) if made else ()
        if not made and "refused" not in more:
            more.setdefault("outcome", Outcome.UNKNOWN)
        return self.add(Kind.RESCHEDULE, client, appointment=about, slot=slot, seen=seen, **more)

    def read(self, client: str, about: str, status: str = "booked", **more: Any) -> Operation:
        """Read the appointment."""
        seen = self._seen(about, more.pop("slot", SLOT), more.pop("patient", ANN), status)
        return self.add(Kind.READ, client, appointment=about, seen=(seen,), **more)

    def not_found(self, client: str, about: str, **more: Any) -> Operation:
        """Read the appointment and be told that there is none."""
        return self.add(Kind.READ, client, appointment=about, refused="not-found", **more)

    def search(self, *, shows: Iterable[str] = (), hides: Iterable[str] = (), **more: Any) -> Operation:
        """Search; see the one and not the other."""
        return self.add(Kind.SEARCH, "anybody", shown=frozenset(shows), missing=frozenset(hides), **more)

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self._now += seconds

    def _seen(self, made: str, slot: str, patient: str, status: str = "booked") -> Seen:
        return Seen(id=made, slot=slot, patient=patient, doctor=DOC, status=status)


@dataclass
class Case:
    """A history with what was found in the end, if anybody looked."""

    history: list[Operation]
    final: Final | None = None


def node(*rows: Row, prescriptions: dict[str, str] | None = None, **more: Any) -> Node:
    """Describe a node on which every row has its record, its event and its slot."""
    audit: Counter[tuple[str, str]] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for state in {"booked", row.status}:
            audit[_ACTS[state][0], row.id] += 1
            events[_ACTS[state][1], row.id] += 1
    for name in prescriptions or {}:
        audit["prescription.issue", name] += 1
        events["prescription.issued", name] += 1
    held = {row.slot for row in rows if row.status in OCCUPYING}
    slots = {slot: "booked" if slot in held else "open" for slot in (SLOT, OTHER)}
    whole = Node(
        name="primary",
        appointments=rows,
        slots=slots | more.pop("slots", {}),
        prescriptions=prescriptions or {},
        audit=audit,
        events=events,
    )
    return replace(whole, **more)


def row(name: str, patient: str = ANN, status: str = "booked", slot: str = SLOT) -> Row:
    """Describe an appointment in a database."""
    return Row(id=name, slot=slot, patient=patient, status=status)


def final(primary: Node, *replicas: Node, delivered: Iterable[tuple[str, str]] = ()) -> Final:
    """Describe the end; without replicas named, one that has the same."""
    copies = replicas or (replace(primary, name="replica"),)
    return Final(nodes=(primary, *copies), delivered=frozenset(delivered))
