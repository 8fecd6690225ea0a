"""Compares what was acknowledged and delivered with what the nodes hold at the end."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence

from tests.twin.history.faults import Fault, Violation
from tests.twin.history.model import OCCUPYING, Final, Kind, Node, Outcome, Request, Row

_Place = tuple[str, str | None]  # a patient and a slot

# Where an acknowledged step must have led; a completed visit has been started.
_LEADS = {
    Kind.CANCEL: frozenset({"cancelled"}),
    Kind.START: frozenset({"in_progress", "completed"}),
    Kind.COMPLETE: frozenset({"completed"}),
}
# What each appointment owes by its state: audit action, event type.
_OWED = {
    "cancelled": ("appointment.cancel", "appointment.cancelled"),
    "rescheduled": ("appointment.reschedule", "appointment.rescheduled"),
    "in_progress": ("consultation.start", "consultation.started"),
    "completed": ("consultation.complete", "consultation.completed"),
}
_BOOKED = ("appointment.book", "appointment.booked")
_PRESCRIBED = ("prescription.issue", "prescription.issued")
# Records and events of other things are not ours to judge.
_WATCHED = frozenset({name for pair in (_BOOKED, _PRESCRIBED, *_OWED.values()) for name in pair})
_AUDIT = (Fault.AUDIT_MISSING, Fault.AUDIT_TWICE, Fault.AUDIT_GHOST)
_EVENT = (Fault.EVENT_MISSING, Fault.EVENT_TWICE, Fault.EVENT_GHOST)


def faults_of_final(requests: Sequence[Request], final: Final) -> Iterator[Violation]:
    """Judge the final state of every node."""
    primary = final.primary
    rows = {row.id: row for row in primary.appointments}
    yield from _acknowledged(requests, primary, rows)
    yield from _asked_for(requests, rows)
    yield from _slots(primary)
    for node in final.nodes:
        yield from _evidence(node)
    yield from _delivered(final)
    for replica in final.nodes[1:]:
        yield from _same(primary, replica)


def _acknowledged(requests: Sequence[Request], node: Node, rows: dict[str, Row]) -> Iterator[Violation]:
    for request in requests:
        made, about = request.result, request.first.appointment
        if request.outcome is not Outcome.OK or request.answer is None:
            continue
        lost = [name for name in _promised(request) if not _is_there(request.kind, name, node, rows)]
        if lost:
            yield Violation(Fault.LOST_ACK, f"{request.kind} by {request.client}: {', '.join(lost)}")
        if request.kind is Kind.RESCHEDULE and made and about:
            yield from _moved(request.client, rows.get(about), rows.get(made.id), about)
        elif request.kind in _LEADS and about:
            yield from _led(request, rows.get(about), about)


def _promised(request: Request) -> tuple[str, ...]:
    """Give what the answer said there is."""
    answer = request.answer
    if answer is None:
        return ()
    named = {
        Kind.BOOK: tuple(seen.id for seen in answer.seen),
        Kind.PUBLISH: answer.slots,
        Kind.WITHDRAW: (request.first.slot or "",),
        Kind.PRESCRIBE: (answer.prescription or "",),
    }
    return named.get(request.kind, ())


def _is_there(kind: Kind, name: str, node: Node, rows: dict[str, Row]) -> bool:
    if kind is Kind.WITHDRAW:
        return node.slots.get(name) == "withdrawn"
    where: Container[str] = {Kind.BOOK: rows, Kind.PUBLISH: node.slots, Kind.PRESCRIBE: node.prescriptions}[kind]
    return name in where


def _led(request: Request, row: Row | None, about: str) -> Iterator[Violation]:
    where = f"{request.kind} of {about} by {request.client}"
    if row is None:
        yield Violation(Fault.LOST_ACK, where)
    elif row.status not in _LEADS[request.kind]:
        back = request.kind is Kind.CANCEL and row.status in OCCUPYING
        yield Violation(Fault.RESURRECTED if back else Fault.LOST_ACK, where)


def _moved(client: str, old: Row | None, new: Row | None, about: str) -> Iterator[Violation]:
    where = f"reschedule by {client}"
    alive = old is not None and old.status in OCCUPYING
    if alive and new is not None:
        yield Violation(Fault.MOVED_TO_BOTH, f"{where}: {about} and {new.id}")
    elif alive:
        yield Violation(Fault.LOST_ACK, f"{where}: {about} is where it was")
    elif new is None:
        yield Violation(Fault.MOVED_TO_NEITHER, f"{where}: {about}")


def _asked_for(requests: Sequence[Request], rows: dict[str, Row]) -> Iterator[Violation]:
    """Find appointments that no request explains, and requests that explain too many."""
    acked = {r.result.id for r in requests if r.result and r.kind in {Kind.BOOK, Kind.RESCHEDULE}}
    bookings = [r for r in requests if r.kind is Kind.BOOK and r.outcome is not Outcome.FAIL]
    met = {(r.client, r.first.slot) for r in bookings}
    wishes = Counter((r.client, r.first.slot) for r in bookings if r.outcome is Outcome.UNKNOWN)
    moves = _possible_moves(requests, rows)
    arrived = {r.first.appointment for r in requests if r.kind is Kind.RESCHEDULE and r.outcome is Outcome.OK}
    for row in (row for row in rows.values() if row.id not in acked):
        place = (row.patient, row.slot)
        if wishes[place] > 0:
            wishes[place] -= 1
        elif moves[place]:
            old = rows[moves[place].pop()]
            arrived.add(old.id)
            if old.status in OCCUPYING:
                yield Violation(Fault.MOVED_TO_BOTH, f"{old.id} and {row.id}")
        else:
            fault = Fault.EFFECT_TWICE if place in met else Fault.FROM_NOWHERE
            yield Violation(fault, f"{row.id} of {row.patient} on {row.slot}")
    for row in rows.values():
        if row.status == "rescheduled" and row.id not in arrived:
            yield Violation(Fault.MOVED_TO_NEITHER, row.id)


def _possible_moves(requests: Sequence[Request], rows: dict[str, Row]) -> defaultdict[_Place, list[str]]:
    """Give, by patient and slot, the appointments that a move without an answer may have brought there."""
    moves: defaultdict[_Place, list[str]] = defaultdict(list)
    for request in requests:
        old = rows.get(request.first.appointment or "")
        if request.kind is Kind.RESCHEDULE and request.outcome is Outcome.UNKNOWN and old is not None:
            moves[old.patient, request.first.slot].append(old.id)
    # Those that did leave are taken first.
    for waiting in moves.values():
        waiting.sort(key=lambda name: rows[name].status == "rescheduled")
    return moves


def _slots(node: Node) -> Iterator[Violation]:
    holders = defaultdict(list)
    for row in node.appointments:
        if row.status in OCCUPYING:
            holders[row.slot].append(row.id)
    for slot, held in holders.items():
        if len(held) > 1:
            yield Violation(Fault.DOUBLE_BOOKING, f"{slot}: {', '.join(held)}")
    for slot, status in node.slots.items():
        if (status == "booked") != bool(holders[slot]):
            yield Violation(Fault.SLOT_DISAGREES, f"{slot} is {status}")


def _evidence(node: Node) -> Iterator[Violation]:
    """Every act owes one audit record and one event, and every record and event owes an act."""
    acts = list(_acts(node))
    yield from _counted(node.name, node.audit, {(action, about) for action, _, about in acts}, _AUDIT)
    yield from _counted(node.name, node.events, {(event, about) for _, event, about in acts}, _EVENT)
    for event, about in sorted(node.undelivered):
        yield Violation(Fault.EVENT_UNDELIVERED, f"{event} of {about} on {node.name}")


def _acts(node: Node) -> Iterator[tuple[str, str, str]]:
    """Give what must have been written about: audit action, event type, and whom."""
    for row in node.appointments:
        yield (*_BOOKED, row.id)
        if row.status in _OWED:
            yield (*_OWED[row.status], row.id)
        if row.status == "completed":
            yield (*_OWED["in_progress"], row.id)
    for prescription in node.prescriptions:
        yield (*_PRESCRIBED, prescription)


def _counted(
    where: str,
    found: Mapping[tuple[str, str], int],
    owed: set[tuple[str, str]],
    faults: tuple[Fault, Fault, Fault],
) -> Iterator[Violation]:
    missing, twice, ghost = faults
    for name, about in sorted(owed - found.keys()):
        yield Violation(missing, f"{name} of {about} on {where}")
    for (name, about), count in sorted(found.items()):
        if name not in _WATCHED:
            continue
        if (name, about) not in owed:
            yield Violation(ghost, f"{name} of {about} on {where}")
        elif count > 1:
            yield Violation(twice, f"{name} of {about} on {where}")


def _delivered(final: Final) -> Iterator[Violation]:
    kept = {(event, about) for _, event, about in _acts(final.primary)}
    for event, about in sorted(final.delivered - kept):
        if event in _WATCHED:
            yield Violation(Fault.EFFECT_GHOST, f"{event} of {about}")


def _same(primary: Node, replica: Node) -> Iterator[Violation]:
    """Compare row by row: a replica that has caught up is the primary's copy."""
    for name, here, there in _tables(primary, replica):
        missing = sorted(map(str, here - there))
        if missing:
            yield Violation(Fault.MISSING_ON_REPLICA, f"{name} on {replica.name}: {_some(missing)}")
        more = sorted(map(str, there - here))
        if more and not missing:
            yield Violation(Fault.REPLICA_DIFFERS, f"{name} on {replica.name}: {_some(more)}")


def _tables(one: Node, other: Node) -> Iterator[tuple[str, set[object], set[object]]]:
    yield "appointments", set(one.appointments), set(other.appointments)
    yield "slots", set(one.slots.items()), set(other.slots.items())
    yield "prescriptions", set(one.prescriptions.items()), set(other.prescriptions.items())


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
