"""What can be judged by the answers alone: keys, people, and the clock."""

from collections.abc import Iterator, Sequence

from tests.twin.history.faults import Fault, Violation
from tests.twin.history.model import Kind, Operation, Request, is_final

_MAKES = frozenset({Kind.BOOK, Kind.RESCHEDULE})


def faults_of_answers(history: Sequence[Operation], requests: Sequence[Request]) -> Iterator[Violation]:
    """Judge every attempt and every key by itself."""
    for one in history:
        if one.end < one.begin:
            yield Violation(Fault.TIME_BACKWARDS, f"{one.kind} by {one.client}, {one.begin} to {one.end}")
        for seen in one.seen:
            if one.client not in {seen.patient, seen.doctor}:
                fault = Fault.FOREIGN_REPLY if one.kind in _MAKES else Fault.FOREIGN_READ
                yield Violation(fault, f"{one.kind} by {one.client} gave {seen.id} of {seen.patient}")
        if one.kind in _MAKES and one.seen and one.slot != one.seen[0].slot:
            yield Violation(Fault.WRONG_SLOT, f"{one.client} wanted {one.slot} and was given {one.seen[0].slot}")
    for request in requests:
        yield from _of_key(request)
    yield from _shared(requests)


def _of_key(request: Request) -> Iterator[Violation]:
    final = [one for one in request.attempts if is_final(one)]
    if request.first.key is None or len(final) < 2:
        return
    made = {one.seen[0].id for one in final if one.seen}
    where = f"{request.kind} by {request.client} under {request.first.key}"
    if request.kind in _MAKES and len(made) > 1:
        yield Violation(Fault.EFFECT_TWICE, f"{where}: {', '.join(sorted(made))}")
    elif len({(one.outcome, one.refused, one.reply) for one in final}) > 1:
        yield Violation(Fault.REPLY_DIFFERS, where)


def _shared(requests: Sequence[Request]) -> Iterator[Violation]:
    owners: dict[str, Request] = {}
    for request in requests:
        made = request.result
        if made is None or request.kind not in _MAKES:
            continue
        if made.id in owners:
            yield Violation(Fault.EFFECT_SHARED, f"{made.id}: {owners[made.id].first.key} and {request.first.key}")
        owners[made.id] = request
