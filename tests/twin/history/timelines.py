"""Cuts a history into one timeline a slot: the steps, and which of them surely came before which.

Writes and their refusals are decided on the primary: each comes after everything that had ended when it began. Reads
may come from a replica that is behind, so a read only comes after what its own client had done and seen. A search
comes after every acknowledged claim, and after openings that are older than a page may live.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.twin.history import slots
from tests.twin.history.model import OCCUPYING, Final, Kind, Outcome, Request, Seen
from tests.twin.history.orders import Step
from tests.twin.history.slots import Claim, Identities, State, Take

SHOWN_AGAIN_WITHIN_SECONDS = 30.0  # how long search may leave out a slot that has opened
_VISITED = frozenset({"in_progress", "completed"})
_BOOKED = frozenset({"booked"})
_ALL_STAGES = frozenset({"none", "open", "booked", "withdrawn"})
# A consultation shows a moved visit as cancelled, booking shows a running visit as booked.
_SHOWN_AS = {
    "booked": frozenset({"booked", "in_progress"}),
    "cancelled": frozenset({"cancelled", "rescheduled"}),
}
_STEPS = {
    Kind.CANCEL: ("cancelled", _BOOKED),
    Kind.RESCHEDULE: ("rescheduled", _BOOKED),
    Kind.START: ("in_progress", _BOOKED),
    Kind.COMPLETE: ("completed", frozenset({"in_progress"})),
}
# What a refusal says of the slot that was wanted.
_SAYS = {
    "slot-taken": frozenset({"booked"}),
    "slot-booked": frozenset({"booked"}),
    "not-found": frozenset({"none", "withdrawn"}),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A step before it has its place among the others."""

    kind: str  # a Kind, or "refusal", "shown", "missing", "final"
    client: str
    begin: float
    end: float
    take: Take
    is_required: bool = True
    note: str = ""

    @property
    def is_read(self) -> bool:
        """Tell whether it changes nothing."""
        return self.kind in _READS

    @property
    def claims(self) -> bool:
        """Tell whether search must know of it at once."""
        return self.kind in {Kind.BOOK, "moved-in", Kind.WITHDRAW}

    @property
    def opens(self) -> bool:
        """Tell whether search shows more after it."""
        return self.kind in {Kind.PUBLISH, Kind.CANCEL, Kind.RESCHEDULE}


_READS = frozenset({"refusal", "shown", "missing", "final", Kind.READ, Kind.PRESCRIBE})


# What gives its client no consistency token: nobody promised to remember it.
_NO_SESSION = frozenset({"refusal", "shown", "missing", "final"})


@dataclass
class Timeline:
    """One slot's entries."""

    slot: str
    initial: State
    gone_within_seconds: float = 0.0  # how long after its acknowledgement search may still not know of a booking
    entries: list[Entry] = field(default_factory=list)

    def steps(self, *, without_session: bool = False, without_own_reads: bool = False) -> list[Step[State]]:
        """Give the steps with their order, or with less of it: to see which part of it was broken."""
        order = _Order(self.entries, self.gone_within_seconds)
        return [
            Step(
                name=f"{entry.kind} by {entry.client}{entry.note}",
                end=entry.end,
                take=entry.take,
                after=order.before(entry, without_session=without_session, without_own_reads=without_own_reads),
                is_read=entry.is_read,
                is_required=entry.is_required,
            )
            for entry in self.entries
        ]


class _Order:
    """Answers which entries surely came before one; in logarithmic time, as a slot may have hundreds."""

    def __init__(self, entries: Sequence[Entry], gone_within_seconds: float) -> None:
        self._gone_within_seconds = gone_within_seconds
        self._all = _Prefixes(enumerate(entries))
        self._claims = _Prefixes((place, one) for place, one in enumerate(entries) if one.claims)
        self._opens = _Prefixes((place, one) for place, one in enumerate(entries) if one.opens)
        own = defaultdict(list)
        for place, one in enumerate(entries):
            if one.kind not in _NO_SESSION:
                own[one.client].append((place, one))
        self._own = {client: _Prefixes(mine) for client, mine in own.items()}
        self._own_writes = {
            client: _Prefixes(pair for pair in mine if pair[1].kind != Kind.READ) for client, mine in own.items()
        }

    def before(self, entry: Entry, *, without_session: bool, without_own_reads: bool) -> int:
        if entry.kind == "shown":
            return self._claims.ended_by(entry.begin - self._gone_within_seconds)
        if entry.kind == "missing":
            return self._opens.ended_by(entry.begin - SHOWN_AGAIN_WITHIN_SECONDS)
        if entry.kind == Kind.READ:
            own = self._own_writes if without_own_reads else self._own
            return 0 if without_session else own[entry.client].ended_by(entry.begin)
        return self._all.ended_by(entry.begin)


class _Prefixes:
    def __init__(self, entries: Iterable[tuple[int, Entry]]) -> None:
        ended = sorted((one.end, place) for place, one in entries if one.is_required)
        self._ends = [end for end, _ in ended]
        self._bits = [0]
        for _, place in ended:
            self._bits.append(self._bits[-1] | 1 << place)

    def ended_by(self, instant: float) -> int:
        return self._bits[bisect_left(self._ends, instant)]


class Timelines:
    """Sorts a history's requests into the timelines of the slots that they touch."""

    def __init__(self, requests: Sequence[Request], final: Final | None, *, gone_within_seconds: float = 0.0) -> None:
        self._gone_within_seconds = gone_within_seconds
        self._known: dict[str, Seen] = {}
        for request in requests:
            for attempt in request.attempts:
                self._known |= {seen.id: seen for seen in attempt.seen if seen.id not in self._known}
        if final is not None:
            for row in final.primary.appointments:
                self._known.setdefault(row.id, Seen(id=row.id, slot=row.slot, patient=row.patient))
        acked = {r.result.id for r in requests if r.result and r.kind in {Kind.BOOK, Kind.RESCHEDULE}}
        self._ids = Identities(frozenset(acked))
        published = {slot for r in requests if r.kind == Kind.PUBLISH and r.answer for slot in r.answer.slots}
        self._published = published
        self.of: dict[str, Timeline] = {}
        for number, request in enumerate(requests):
            self._add(number, request)
        if final is not None:
            self._close(final)

    def _add(self, number: int, request: Request) -> None:
        match request.kind:
            case Kind.READ | Kind.LIST | Kind.SEARCH:
                self._look(request)
            case _ if request.outcome is Outcome.FAIL:
                self._refusal(request)
            case Kind.PUBLISH | Kind.PRESCRIBE:
                self._answered(request)
            case Kind.WITHDRAW:
                self._put(request.first.slot, request, slots.withdraw)
            case Kind.BOOK:
                self._claim(number, request, "book")
            case Kind.CANCEL | Kind.RESCHEDULE | Kind.START | Kind.COMPLETE:
                self._step(number, request)

    def _claim(self, number: int, request: Request, kind: str) -> None:
        made = request.result
        target = self._known.get(request.first.appointment or "")
        patient = target.patient if target is not None else request.client
        new = Claim(number, patient, made.id if made else None)
        self._put(request.first.slot, request, slots.claim(new), kind=kind)

    def _step(self, number: int, request: Request) -> None:
        status, allowed = _STEPS[request.kind]
        seen = self._known.get(request.first.appointment or "")
        if seen is not None:
            take = slots.step(self._ids, seen.id, seen.patient, status=status, allowed=allowed)
            self._put(seen.slot, request, take)
        if request.kind is Kind.RESCHEDULE:
            self._claim(number, request, "moved-in")

    def _answered(self, request: Request) -> None:
        for slot in request.answer.slots if request.answer else ():
            self._put(slot, request, slots.publish)
        seen = self._known.get(request.first.appointment or "")
        if request.kind is Kind.PRESCRIBE and request.answer and seen is not None:
            self._put(seen.slot, request, slots.shows(self._ids, seen.id, seen.patient, _VISITED))

    def _refusal(self, request: Request) -> None:
        said = request.answer.refused if request.answer else None
        about = self._known.get(request.first.appointment or "")
        note = f" ({said})"
        if said in _SAYS and (about is None or said == "slot-taken"):
            self._put(request.first.slot, request, slots.looks(_SAYS[said]), kind="refusal", note=note)
        elif said == "step-not-allowed" and about is not None and request.kind in _STEPS:
            others = frozenset({*OCCUPYING, "cancelled", "rescheduled"}) - _STEPS[request.kind][1]
            take = slots.shows(self._ids, about.id, about.patient, others)
            self._put(about.slot, request, take, kind="refusal", note=note)

    def _look(self, request: Request) -> None:
        one = request.answer
        if one is None:
            return
        for seen in one.seen:
            shown = _SHOWN_AS.get(seen.status, frozenset({seen.status}))
            self._put(seen.slot, request, slots.shows(self._ids, seen.id, seen.patient, shown), kind=Kind.READ)
        absent = one.missing if one.kind is Kind.LIST else {one.appointment} if one.refused == "not-found" else set()
        for known in (self._known[name] for name in absent if name in self._known):
            self._put(known.slot, request, slots.lacks(known.id), kind=Kind.READ, note=" (not there)")
        if one.kind is Kind.SEARCH:
            for slot in one.shown:
                self._put(slot, request, slots.looks(frozenset({"open"})), kind="shown")
            for slot in one.missing:
                self._put(slot, request, slots.looks(_ALL_STAGES - {"open"}), kind="missing")

    def _put(self, slot: str | None, request: Request, take: Take, *, kind: str = "", note: str = "") -> None:
        if slot is None or (request.outcome is Outcome.FAIL and request.answer is None):
            return
        timeline = self._timeline(slot)
        required = request.outcome is not Outcome.UNKNOWN
        entry = Entry(kind or request.kind, request.client, request.begin, request.end, take, required, note)
        timeline.entries.append(entry)

    def _timeline(self, slot: str) -> Timeline:
        if slot not in self.of:
            initial = slots.UNPUBLISHED if slot in self._published else slots.OPEN
            self.of[slot] = Timeline(slot, initial, self._gone_within_seconds)
        return self.of[slot]

    def _close(self, final: Final) -> None:
        rows = defaultdict(list)
        for row in final.primary.appointments:
            rows[row.slot].append(row)
        for slot, status in final.primary.slots.items():
            if slot in self.of or rows[slot]:
                never = float("inf")
                take = slots.ends_as(self._ids, status, tuple(rows[slot]))
                # The drill's own look, after everything that has an end.
                self._timeline(slot).entries.append(Entry("final", "drill", never, never, take))
