"""In which order search looks at slots and doctors, and the SQL of where it is not that of time.

What the planner would guess of doctors (that a specialization is rare, that hardly anybody is a doctor) has it sort all
slots of dozens of them for one page. So the order of the joins is written down. The slots of a doctor and those of a
specialization have an index; for other filters, which order is best depends on how many doctors match (`Way`). That is
counted once in a while and remembered: a count that is old makes a search slower, never wrong, and every statement has
one join and one way to be planned.

By time, which is most searches, the server has the statement (`by_time.py`). Where doctors come first there is one for
each combination of filters, in which nothing that somebody typed is ever written.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from telemed.booking.slots import by_time
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
# plan, which happens for every search. Index alone: users_doctors.
_IS_DOCTOR = "(SELECT true FROM auth.people AS p WHERE p.id = d.id AND p.role = 'doctor')"
# As the functions of migration 0019 have it.
_OPEN = """
    s.status = 'open'
    AND (s.starts_at, s.id) > ($1::timestamptz, coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    AND s.starts_at < coalesce($3::timestamptz, 'infinity')
"""
_PAGE = "ORDER BY s.starts_at, s.id LIMIT $4::bigint"
_FIRST_OF_DOCTORS = 5

_Condition = tuple[str, object]  # a piece of a WHERE clause, with braces and a type where its value goes, and the value


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
        page = by_time.asked(wanted, now=now, after=after, limit=limit)
        if way is Way.BY_TIME:
            (found,) = await by_time.found_for(direct, by_time.kind_of(wanted), [page])
            return found
        statement, values = doctors_first(way, wanted, page)
        return found_in((await direct.look(statement, *values))[0])

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


def doctors_first(way: Way, wanted: SearchSlots, page: by_time.Question) -> tuple[str, tuple[object, ...]]:
    """Give the statement that finds the page by a way that is not by time, and its values."""
    of_doctors = tuple(_about_doctors(wanted))
    statement = statement_for(way, tuple(text for text, _ in of_doctors))
    of_page = (page.after_at, page.after_id, page.before, page.at_most)
    return statement, (*of_page, *(value for _, value in of_doctors))


# What is compared regardless of case comes in lower case already (`SearchSlots`).
def _about_doctors(wanted: SearchSlots) -> Iterator[_Condition]:
    if wanted.specialization is not None:
        yield "lower(d.specialization) = {}::text", wanted.specialization
    if wanted.language is not None:
        yield "{}::text = ANY (lower(d.languages::text)::text[])", wanted.language
    if wanted.max_fee_minor is not None:
        yield "d.fee_minor <= {}::bigint", wanted.max_fee_minor


def _count(of_doctors: tuple[_Condition, ...]) -> tuple[str, tuple[object, ...]]:
    doctors = _all_of((text for text, _ in of_doctors), first=1)
    statement = f"""
    SELECT count(*) AS matching FROM (SELECT FROM booking.doctors AS d WHERE {doctors} LIMIT {_MANY + 1}) AS matching
    """  # noqa: S608 - our own conditions, whose values are parameters
    return statement, tuple(value for _, value in of_doctors)


@lru_cache(maxsize=64)  # as many as there are combinations
def statement_for(way: Way, of_doctors: tuple[str, ...]) -> str:
    """Write the statement that has these conditions; $1 to $4 are those of the page."""
    doctors = _all_of(of_doctors, first=_FIRST_OF_DOCTORS)
    slots_found = {Way.BY_SET: _by_set, Way.BY_DOCTOR: _by_doctor}[way](doctors)
    # One value, whatever is found. They come in that order already: to say so costs nothing.
    return f"""
    SELECT string_agg({lines_of("f")}, chr(10) ORDER BY f.starts_at, f.id) AS lines FROM ({slots_found}) AS f
    """  # noqa: S608 - as above


def _all_of(of_doctors: Iterable[str], *, first: int) -> str:
    return " AND ".join(["d.is_listed", *(text.format(f"${at}") for at, text in enumerate(of_doctors, first))])


def _by_set(doctors: str) -> str:
    # "IS TRUE" keeps the planner from making a join of it, and the inner LIMIT from beginning with the doctors (there
    # is one of each id anyway). Conditions on doctors are asked once, in the set: who is in it, is who the lookup
    # finds, as one statement sees one state. The first of them is the specialization, without which nobody comes here:
    # slots have a copy of it, for their index.
    return f"""
    SELECT {_COLUMNS}
    FROM booking.slots AS s
    CROSS JOIN LATERAL (SELECT d.* FROM booking.doctors AS d WHERE d.id = s.doctor_id AND {_IS_DOCTOR} LIMIT 1) AS d
    WHERE {_OPEN} AND s.specialization_key = ${_FIRST_OF_DOCTORS}::text
        AND (s.doctor_id IN (SELECT d.id FROM booking.doctors AS d WHERE {doctors})) IS TRUE
    {_PAGE}
    """  # noqa: S608 - as above


def _by_doctor(doctors: str) -> str:
    return f"""
    WITH few AS MATERIALIZED (SELECT d.id, d.card FROM booking.doctors AS d WHERE {doctors})
    SELECT {_COLUMNS}
    FROM few AS d
    CROSS JOIN LATERAL (SELECT s.* FROM booking.slots AS s WHERE s.doctor_id = d.id AND {_OPEN} {_PAGE}) AS s
    WHERE {_IS_DOCTOR}
    {_PAGE}
    """  # noqa: S608 - as above
