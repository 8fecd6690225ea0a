"""Search by time: what is asked of the functions of migration 0019, one question or many at once.

They go through the slots of everybody, of a specialization or of a doctor as they begin. The server keeps their plans,
which no statement of ours could have it do through a pooler in transaction mode.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from telemed.booking.slots.cards import Found, found_in
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor

_TICK = timedelta(microseconds=1)  # PostgreSQL's; a slot that begins now has begun


class Kind(StrEnum):
    """By which index of slots, as the function is called."""

    TIME = "time"
    SPECIALIZATION = "specialization"
    DOCTOR = "doctor"


class Question(NamedTuple):
    """What a function takes lists of, in their order: a page of the openings after one, and who may hold them."""

    after_at: datetime
    after_id: UUID | None  # None: after all that begin then
    before: datetime | None
    at_most: int
    doctor_id: UUID | None
    specialization: str | None
    language: str | None
    max_fee_minor: int | None


_TYPES = ("timestamptz", "uuid", "timestamptz", "bigint", "uuid", "text", "text", "bigint")
_LISTS = ", ".join(f"${number}::{name}[]" for number, name in enumerate(_TYPES, start=1))
STATEMENTS = {
    kind: f"SELECT place, lines FROM booking.next_openings_by_{kind}({_LISTS})"  # noqa: S608 - names of our own
    for kind in Kind
}


def kind_of(wanted: SearchSlots) -> Kind:
    """Say which index leads to the fewest slots."""
    if wanted.doctor_id is not None:
        return Kind.DOCTOR
    return Kind.SPECIALIZATION if wanted.specialization is not None else Kind.TIME


def asked(wanted: SearchSlots, *, now: datetime, after: Cursor | None, limit: int) -> Question:
    """Give the question. What is compared regardless of case comes in lower case already."""
    begins_at = max(now + _TICK, wanted.starts_from or now)
    goes_on = after if after is not None and after.at >= begins_at else None
    return Question(
        goes_on.at if goes_on else begins_at - _TICK,
        goes_on.id if goes_on else None,
        wanted.starts_before,
        limit,
        wanted.doctor_id,
        wanted.specialization,
        wanted.language,
        wanted.max_fee_minor,
    )


async def found_for(direct: Direct, kind: Kind, questions: Sequence[Question]) -> list[Found]:
    """Give what is found for each of these, in their order."""
    # Most are asked for little, and a list costs the driver some microseconds.
    columns = zip(*questions, strict=True)
    lists = (list(column) if any(value is not None for value in column) else None for column in columns)
    rows = await direct.rows(STATEMENTS[kind], *lists)
    found = {place: found_in(lines) for place, lines in rows}
    return [found[place] for place in range(1, len(questions) + 1)]
