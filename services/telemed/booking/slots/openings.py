"""The SQL of search: a statement for each combination of filters, in which nothing that somebody typed is ever written.

What the planner would guess of doctors (that a specialization is rare, that hardly anybody is a doctor) has it sort all
slots of dozens of them for one page. So the order of the joins is written down: by time, doctor after doctor looked
up; or, where so few doctors match that most slots would be looked at in vain, the next slots of each of them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor

# Looking up each of so many doctors' next slots costs about what one page by time does, where one in a dozen matches.
_FEW = 50
_DOCTOR = "d.full_name, d.specialization, d.languages, d.fee_minor, d.fee_currency"
_COLUMNS = f"s.id, s.version, s.starts_at, s.ends_at, d.id AS doctor_id, {_DOCTOR}"
# That is auth's to say, and holds at once; what `doctors/queries.py` has as EXISTS. That would become one more join to
# plan, which happens for every search: a third of what it costs the server.
_IS_DOCTOR = "(SELECT p.role FROM auth.people AS p WHERE p.id = d.id) = 'doctor'"
_PAGE = "ORDER BY s.starts_at, s.id LIMIT $2"

_TICK = timedelta(microseconds=1)  # PostgreSQL's; a slot that begins now has begun
# A piece of a WHERE clause, with braces where its values go, and the values.
_Condition = tuple[str, tuple[object, ...]]


class Opening(NamedTuple):
    """An open slot with what is shown of its doctor; fields as the statements have their columns."""

    id: UUID
    version: int
    starts_at: datetime
    ends_at: datetime
    doctor_id: UUID
    full_name: str
    specialization: str
    languages: list[str]
    fee_minor: int
    fee_currency: str


async def openings(
    direct: Direct, wanted: SearchSlots, *, now: datetime, after: Cursor | None, limit: int
) -> list[Opening]:
    """Find open slots in the order of time. Index: slots_open_by_time or slots_open_by_doctor."""
    statement, values = asked(wanted, now=now, after=after, limit=limit)
    return [Opening(*row) for row in await direct.rows(statement, *values)]


def asked(wanted: SearchSlots, *, now: datetime, after: Cursor | None, limit: int) -> tuple[str, tuple[object, ...]]:
    """Give the statement and its values."""
    of_slots, of_doctors = tuple(_about_slots(wanted, after)), tuple(_about_doctors(wanted))
    statement = statement_for(tuple(text for text, _ in of_slots), tuple(text for text, _ in of_doctors))
    values = (value for _, values in of_slots + of_doctors for value in values)
    return statement, (_begins_at(wanted, now, after), limit, *values)


def _begins_at(wanted: SearchSlots, now: datetime, after: Cursor | None) -> datetime:
    """Give the earliest instant at which a slot may begin.

    One bound of the three there are: PostgreSQL begins a scan of the index at the first of several, and filters.
    """
    bounds = (now + _TICK, wanted.starts_from, after.at if after is not None else None)
    return max(bound for bound in bounds if bound is not None)


_OF_ONE_DOCTOR = "s.doctor_id = {}"


def _about_slots(wanted: SearchSlots, after: Cursor | None) -> Iterator[_Condition]:
    if wanted.doctor_id is not None:
        yield _OF_ONE_DOCTOR, (wanted.doctor_id,)
    if wanted.starts_before is not None:
        yield "s.starts_at < {}", (wanted.starts_before,)
    if after is not None:
        yield "(s.starts_at, s.id) > ({}, {})", (after.at, after.id)


def _about_doctors(wanted: SearchSlots) -> Iterator[_Condition]:
    if wanted.specialization is not None:
        yield "lower(d.specialization) = {}", (wanted.specialization.lower(),)
    if wanted.language is not None:
        yield "{} = ANY (lower(d.languages::text)::text[])", (wanted.language.lower(),)
    if wanted.max_fee_minor is not None:
        yield "d.fee_minor <= {}", (wanted.max_fee_minor,)


@lru_cache(maxsize=64)  # as many as there are combinations
def statement_for(of_slots: tuple[str, ...], of_doctors: tuple[str, ...]) -> str:
    """Write the statement that has these conditions; $1 is the earliest beginning, $2 how many slots at most."""
    numbers = iter(range(3, 100))
    slots, doctors = (
        " AND ".join(_numbered(condition, numbers) for condition in conditions)
        for conditions in (("s.status = 'open'", "s.starts_at >= $1", *of_slots), ("d.is_listed", *of_doctors))
    )
    if not of_doctors or _OF_ONE_DOCTOR in of_slots:
        return _by_time(slots, doctors)
    return _by_doctor_or_time(slots, doctors)


def _numbered(condition: str, numbers: Iterator[int]) -> str:
    return condition.format(*(f"${next(numbers)}" for _ in range(condition.count("{}"))))


def _by_time(slots: str, doctors: str) -> str:
    # The inner LIMIT keeps the planner from beginning with the doctors; there is one of each id anyway.
    return f"""
    SELECT {_COLUMNS}
    FROM booking.slots AS s
    CROSS JOIN LATERAL (
        SELECT d.* FROM booking.doctors AS d WHERE d.id = s.doctor_id AND {doctors} AND {_IS_DOCTOR} LIMIT 1
    ) AS d
    WHERE {slots}
    {_PAGE}
    """  # noqa: S608 - our own conditions, whose values are parameters


def _by_doctor_or_time(slots: str, doctors: str) -> str:
    # One of the two halves is not even begun: which one, the server knows when it has counted, no further than it must.
    return f"""
    WITH few AS MATERIALIZED (SELECT d.id, {_DOCTOR} FROM booking.doctors AS d WHERE {doctors} LIMIT {_FEW + 1})
    (
        SELECT {_COLUMNS}
        FROM few AS d
        CROSS JOIN LATERAL (SELECT s.* FROM booking.slots AS s WHERE s.doctor_id = d.id AND {slots} {_PAGE}) AS s
        WHERE (SELECT count(*) FROM few) <= {_FEW} AND {_IS_DOCTOR}
        {_PAGE}
    )
    UNION ALL
    ({_by_time(f"(SELECT count(*) FROM few) > {_FEW} AND {slots}", doctors)})
    ORDER BY starts_at, id LIMIT $2
    """  # noqa: S608 - as above
