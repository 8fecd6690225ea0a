"""The SQL of search: a statement for each combination of filters, in which nothing that somebody typed is ever written.

What the planner would guess of doctors (that a specialization is rare, that hardly anybody is a doctor) has it sort all
slots of dozens of them for one page. So the order of the joins is written down. The slots of a doctor and those of a
specialization have an index; for other filters, which order is best depends on how many doctors match (`Way`). That is
counted once in a while and remembered: a count that is old makes a search slower, never wrong, and every statement has
one join and one way to be planned.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from telemed.booking.slots.cards import Found, found_in, lines_of
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor

# Looking up each of so many doctors' next slots costs about what one page by time does, where one in a dozen matches.
_FEW = 50
# To gather so many doctors' ids costs about what it costs to look up the doctors of a page's slots one by one.
_MANY = 1000
# A clinic's doctors change over weeks; a count costs a tenth of a search.
_COUNTED_FOR = timedelta(minutes=1)
_COUNTS_KEPT = 1000
_COLUMNS = "s.id, s.version, s.starts_at, s.ends_at, d.card"
# That is auth's to say, and holds at once; what `doctors/queries.py` has as EXISTS. That would become one more join to
# plan, which happens for every search: a third of what it costs the server. Index alone: users_doctors.
_IS_DOCTOR = "(SELECT true FROM auth.people AS p WHERE p.id = d.id AND p.role = 'doctor')"
_PAGE = "ORDER BY s.starts_at, s.id LIMIT $2::bigint"

_TICK = timedelta(microseconds=1)  # PostgreSQL's; a slot that begins now has begun
# A piece of a WHERE clause, with braces and types where its values go, and the values.
_Condition = tuple[str, tuple[object, ...]]
Question = tuple[str, tuple[object, ...]]  # a statement and its values
_VALUE = re.compile(r"\$(\d+)::(\w+)")  # where a value goes in a statement, and of what type it is


class Way(Enum):
    """In which order slots and doctors are looked at."""

    BY_TIME = auto()  # the slots as they begin, the doctor of each looked up
    BY_SET = auto()  # the same, for those slots only whose doctor is among the gathered ids of all that match
    BY_DOCTOR = auto()  # the next slots of each doctor that matches


class Openings:
    """Finds open slots in the database, and remembers how many doctors match what is asked of them."""

    def __init__(self) -> None:
        self._ways: dict[tuple[_Condition, ...], tuple[Way, datetime]] = {}

    async def find(
        self, direct: Direct, wanted: SearchSlots, *, now: datetime, after: Cursor | None, limit: int
    ) -> Found:
        """Give them in the order of time. Index: slots_search_by_time, _by_specialization or _by_doctor."""
        way = self.known_way(wanted, now=now) or await self._counted(direct, wanted, now)
        (found,) = await found_for(direct, [asked(wanted, way, now=now, after=after, limit=limit)])
        return found

    def known_way(self, wanted: SearchSlots, *, now: datetime) -> Way | None:
        """Say in which order to look; None if the doctors that match have to be counted first."""
        conditions = tuple(_about_doctors(wanted))
        has_index = wanted.doctor_id is not None or (wanted.specialization is not None and len(conditions) == 1)
        if not conditions or has_index:
            return Way.BY_TIME
        known, until = self._ways.get(conditions, (None, now))
        return known if until > now else None

    async def _counted(self, direct: Direct, wanted: SearchSlots, now: datetime) -> Way:
        conditions = tuple(_about_doctors(wanted))
        statement, values = _count(conditions)
        matching: int = (await direct.rows(statement, *values))[0]["matching"]
        way = _way_for(matching, by_index=wanted.specialization is not None)
        self._remember(conditions, way, now + _COUNTED_FOR)
        return way

    def _remember(self, conditions: tuple[_Condition, ...], way: Way, until: datetime) -> None:
        self._ways.pop(conditions, None)
        self._ways[conditions] = way, until
        if len(self._ways) > _COUNTS_KEPT:
            del self._ways[next(iter(self._ways))]


def _way_for(matching: int, *, by_index: bool) -> Way:
    if matching <= _FEW:
        return Way.BY_DOCTOR
    # Without an index, to gather them is to look at every doctor there is.
    return Way.BY_SET if matching <= _MANY and by_index else Way.BY_TIME


async def found_for(direct: Direct, questions: "Sequence[Question]") -> list[Found]:
    """Give what is found for each of these, in their order; all have the same statement."""
    statement, values = questions[0]
    if len(questions) == 1:
        return [found_in((await direct.look(statement, *values))[0])]
    lists = map(list, zip(*(values for _, values in questions), strict=True))
    found = {place: found_in(lines) for place, lines in await direct.rows(for_many(statement), *lists)}
    return [found[place] for place in range(1, len(questions) + 1)]


def asked(wanted: SearchSlots, way: Way, *, now: datetime, after: Cursor | None, limit: int) -> "Question":
    """Give the statement and its values."""
    of_slots, of_doctors = tuple(_about_slots(wanted, way, after)), tuple(_about_doctors(wanted))
    statement = statement_for(way, tuple(text for text, _ in of_slots), tuple(text for text, _ in of_doctors))
    values = (value for _, values in of_slots + of_doctors for value in values)
    return statement, (_begins_at(wanted, now, after), limit, *values)


def _begins_at(wanted: SearchSlots, now: datetime, after: Cursor | None) -> datetime:
    """Give the earliest instant at which a slot may begin.

    One bound of the three there are: PostgreSQL begins a scan of the index at the first of several, and filters.
    """
    bounds = (now + _TICK, wanted.starts_from, after.at if after is not None else None)
    return max(bound for bound in bounds if bound is not None)


# What is compared regardless of case comes in lower case already (`SearchSlots`).
def _about_slots(wanted: SearchSlots, way: Way, after: Cursor | None) -> Iterator[_Condition]:
    if wanted.doctor_id is not None:
        yield "s.doctor_id = {}::uuid", (wanted.doctor_id,)
    elif wanted.specialization is not None and way is not Way.BY_DOCTOR:
        # A copy, for its index; the doctor's own is asked for all the same.
        yield "s.specialization_key = {}::text", (wanted.specialization,)
    if wanted.starts_before is not None:
        yield "s.starts_at < {}::timestamptz", (wanted.starts_before,)
    if after is not None:
        yield "(s.starts_at, s.id) > ({}::timestamptz, {}::uuid)", (after.at, after.id)


def _about_doctors(wanted: SearchSlots) -> Iterator[_Condition]:
    if wanted.specialization is not None:
        yield "lower(d.specialization) = {}::text", (wanted.specialization,)
    if wanted.language is not None:
        yield "{}::text = ANY (lower(d.languages::text)::text[])", (wanted.language,)
    if wanted.max_fee_minor is not None:
        yield "d.fee_minor <= {}::bigint", (wanted.max_fee_minor,)


def _count(of_doctors: tuple[_Condition, ...]) -> tuple[str, tuple[object, ...]]:
    numbers = iter(range(1, 100))
    doctors = " AND ".join(["d.is_listed", *(_numbered(text, numbers) for text, _ in of_doctors)])
    statement = f"""
    SELECT count(*) AS matching FROM (SELECT FROM booking.doctors AS d WHERE {doctors} LIMIT {_MANY + 1}) AS matching
    """  # noqa: S608 - our own conditions, whose values are parameters
    return statement, tuple(value for _, values in of_doctors for value in values)


@lru_cache(maxsize=256)  # as many as there are combinations
def statement_for(way: Way, of_slots: tuple[str, ...], of_doctors: tuple[str, ...]) -> str:
    """Write the statement that has these conditions; $1 is the earliest beginning, $2 how many slots at most."""
    numbers = iter(range(3, 100))
    slots, doctors = (
        " AND ".join(_numbered(condition, numbers) for condition in conditions)
        for conditions in (
            ("s.status = 'open'", "s.starts_at >= $1::timestamptz", *of_slots),
            ("d.is_listed", *of_doctors),
        )
    )
    slots_found = {Way.BY_TIME: _by_time, Way.BY_SET: _by_set, Way.BY_DOCTOR: _by_doctor}[way](slots, doctors)
    # One value, whatever is found. They come in that order already: to say so costs nothing.
    return f"""
    SELECT string_agg({lines_of("f")}, chr(10) ORDER BY f.starts_at, f.id) AS lines FROM ({slots_found}) AS f
    """  # noqa: S608 - as above


@lru_cache(maxsize=256)
def for_many(statement: str) -> str:
    """Write the statement that asks this one many times: its $1 is a list of what is to be $1 each time, and so on.

    Its rows say first whose they are, counted from one.
    """
    types = dict(_VALUE.findall(statement))
    lists = ", ".join(f"${number}::{kind}[]" for number, kind in types.items())
    names = ", ".join(f"v{number}" for number in types)
    of_each = _VALUE.sub(r"question.v\1", statement)
    return f"""
    SELECT question.place, found.*
    FROM unnest({lists}) WITH ORDINALITY AS question ({names}, place)
    CROSS JOIN LATERAL ({of_each}) AS found
    """  # noqa: S608 - names and types of our own


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


def _by_set(slots: str, doctors: str) -> str:
    # "IS TRUE" keeps the planner from making a join of it, which it would begin with the doctors. Conditions on doctors
    # are asked once, in the set: who is in it, is who the lookup finds, as one statement sees one state.
    matching = f"SELECT d.id FROM booking.doctors AS d WHERE {doctors}"  # noqa: S608 - as above
    return _by_time(f"{slots} AND (s.doctor_id IN ({matching})) IS TRUE", "TRUE")


def _by_doctor(slots: str, doctors: str) -> str:
    return f"""
    WITH few AS MATERIALIZED (SELECT d.id, d.card FROM booking.doctors AS d WHERE {doctors})
    SELECT {_COLUMNS}
    FROM few AS d
    CROSS JOIN LATERAL (SELECT s.* FROM booking.slots AS s WHERE s.doctor_id = d.id AND {slots} {_PAGE}) AS s
    WHERE {_IS_DOCTOR}
    {_PAGE}
    """  # noqa: S608 - as above
