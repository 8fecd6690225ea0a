"""The statements of search: what they find, and by which way."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, combinations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.servers import TestServers
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase, clone, unused_name
from tests.support.people import People
from tests.support.settings import NOW

from telemed.booking.slots import by_time, openings
from telemed.booking.slots.by_time import Kind, Question, found_for
from telemed.booking.slots.cards import Found
from telemed.booking.slots.openings import Openings, Way
from telemed.booking.slots.schemas import FoundSlot, SearchSlots
from telemed.kernel.clock import ManualClock
from telemed.kernel.paging import Cursor
from telemed.kernel.resources import Resources

FILTERS = ("doctor_id", "specialization", "language", "max_fee_minor", "from", "to", "cursor")
OF_DOCTORS = {"specialization", "language", "max_fee_minor"}
COMBINATIONS = list(chain.from_iterable(combinations(FILTERS, count) for count in range(len(FILTERS) + 1)))

# Where doctors come first, they are chosen by something, and are not one.
WAYS_OF_COMBINATIONS = [
    (names, way)
    for names in COMBINATIONS
    for way in (Way.BY_SET, Way.BY_DOCTOR)
    if "doctor_id" not in names and set(names) & ({"specialization"} if way is Way.BY_SET else OF_DOCTORS)
]


@pytest.fixture(params=Way, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Whichever way: all must find the same. A set is gathered by specialization only."""
    chosen: Way = request.param

    def choose(_matching: int, *, by_index: bool) -> Way:
        return Way.BY_TIME if chosen is Way.BY_SET and not by_index else chosen

    monkeypatch.setattr(openings, "_way_for", choose)
    return chosen


def may_be_shown(slot: FoundSlot, wanted: SearchSlots, after: Cursor | None) -> bool:
    """Say in Python what the filters mean."""
    doctor = slot.doctor
    return (
        wanted.doctor_id in {None, doctor.id}
        and wanted.specialization in {None, doctor.specialization.lower()}
        and (wanted.language is None or wanted.language in {language.lower() for language in doctor.languages})
        and (wanted.max_fee_minor is None or doctor.fee.amount_minor <= wanted.max_fee_minor)
        and (wanted.starts_from is None or slot.starts_at >= wanted.starts_from)
        and (wanted.starts_before is None or slot.starts_at < wanted.starts_before)
        and (after is None or (slot.starts_at, slot.id) > (after.at, after.id))
    )


def shown(found: Found) -> list[FoundSlot]:
    """Read what is shown of the slots that were found."""
    slots = [FoundSlot.model_validate_json(card) for card in found.cards]
    assert [opening.partition("/")[0] for opening in found.openings] == [slot.id.hex for slot in slots]
    return slots


async def found(resources: Resources, now: datetime, after: Cursor | None = None, **filters: Any) -> list[FoundSlot]:
    wanted = SearchSlots(**filters)
    # A limit beyond all that tests have made.
    search = partial(Openings().find, wanted=wanted, now=now, after=after, limit=10_000)
    return shown(await resources.db.read_directly(search))


async def found_together(resources: Resources, kind: Kind, question: Question) -> list[FoundSlot]:
    """Ask it between others of its kind: for its first two, for what begins after all, and of nobody."""
    few = question._replace(at_most=2)
    none = question._replace(after_at=question.after_at + timedelta(days=36500))
    nobody = question._replace(language="xx", max_fee_minor=0)
    questions = [few, none, question, nobody, question]
    answers = [
        shown(one) for one in await resources.db.read_directly(partial(found_for, kind=kind, questions=questions))
    ]
    assert answers == [answers[2][:2], [], answers[4], [], answers[2]]
    return answers[2]


async def test_what_cannot_be_booked_any_more_is_not_found(
    people: People, clinic: Clinic, resources: Resources, clock: ManualClock, owner: asyncpg.Connection, way: Way
) -> None:
    """A slot that begins now, and those of who is a doctor no more or has left the list; each search by each way."""
    field = f"Nephrology {uuid4().hex[:12]}"
    doctor, demoted, left = [await clinic.doctor(specialization=field) for _ in range(3)]
    first, second = await clinic.slots(doctor, 2)
    for gone in (demoted, left):
        await clinic.slots(gone, 2)
    await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(demoted.id))
    await owner.execute("UPDATE booking.doctors SET is_listed = false WHERE id = $1", UUID(left.id))
    clock.advance(datetime.fromisoformat(first["starts_at"]) - clock.now())

    ids = {UUID(one.id) for one in (doctor, demoted, left)}
    asked: list[dict[str, Any]] = [{}, {"specialization": field}, *({"doctor_id": one} for one in ids)]
    for filters in asked:
        openings_of_these = [
            str(slot.id) for slot in await found(resources, clock.now(), **filters) if slot.doctor.id in ids
        ]
        is_theirs = filters.get("doctor_id") in {UUID(demoted.id), UUID(left.id)}
        assert openings_of_these == ([] if is_theirs else [second["id"]])


async def test_a_specialization_is_the_doctors_own(
    clinic: Clinic, resources: Resources, clock: ManualClock, owner: asyncpg.Connection, way: Way
) -> None:
    """Slots have a copy, for its index; where that is not their doctor's, they are not found."""
    field = f"Nephrology {uuid4().hex[:12]}"
    doctor, other = await clinic.doctor(specialization=field), await clinic.doctor()
    (own,) = await clinic.slots(doctor)
    (copied,) = await clinic.slots(other)
    await owner.execute(
        "UPDATE booking.slots SET specialization_key = $1 WHERE id = $2", field.lower(), UUID(copied["id"])
    )

    for language in (None, "en"):
        slots = await found(resources, clock.now(), specialization=field, language=language)
        assert [str(slot.id) for slot in slots] == [own["id"]]


async def test_every_combination_of_filters_finds_what_one_would_pick(
    people: People, clinic: Clinic, resources: Resources, clock: ManualClock, way: Way
) -> None:
    """From everything that is open, in the order of time, none twice; also slots of one instant."""
    field = f"Nephrology {uuid4().hex[:12]}"
    for languages, fee in ((["ta", "EN"], 100), (["en"], 200), (["hi"], 100)):
        doctor = await clinic.doctor(
            specialization=field, languages=languages, fee={"amount_minor": fee, "currency": "INR"}
        )
        slots = await clinic.slots(doctor, 4)
        booked = await (await people.patient()).post("/booking/slots/book", {"slot_id": slots[3]["id"]})
        assert booked.status_code == 201
    await clinic.slots(await clinic.doctor(languages=["en"]), 4)
    everything = await found(resources, clock.now())
    assert not {slot.id for slot in everything} & {UUID(booked.json()["slot_id"])}
    (middle,) = (slot for slot in everything if slot.id == UUID(slots[1]["id"]))
    values: dict[str, Any] = {
        "doctor_id": middle.doctor.id,
        "specialization": field.lower(),
        "language": "en",
        "max_fee_minor": 100,
        "from": clinic.opens_at + timedelta(minutes=30),
        "to": clinic.opens_at + timedelta(minutes=60),
        "cursor": Cursor(middle.starts_at, middle.id).encode(),
    }
    for names in COMBINATIONS:
        wanted = SearchSlots(**{name: values[name] for name in names})
        after = Cursor.decode(wanted.cursor)

        seen = await found(resources, clock.now(), after, **{name: values[name] for name in names})

        assert seen == [slot for slot in everything if may_be_shown(slot, wanted, after)], names
        asked = by_time.asked(wanted, now=clock.now(), after=after, limit=10_000)
        assert await found_together(resources, by_time.kind_of(wanted), asked) == seen, names
    assert everything == sorted(everything, key=lambda slot: (slot.starts_at, slot.id))
    assert len({slot.id for slot in everything}) == len(everything)


@pytest.mark.parametrize(
    ("names", "way"), WAYS_OF_COMBINATIONS, ids=lambda part: getattr(part, "name", None) or "+".join(part)
)
async def test_where_doctors_come_first_slots_are_found_by_an_index(
    untouched: str, names: tuple[str, ...], way: Way
) -> None:
    """No slot is read that is not open, and at most the next ones of each of a few doctors are sorted.

    What is passed by and what is shown is in the index: the table is not looked at. Nor is that of users.
    """
    wanted, after = narrowed(names)
    page = by_time.asked(wanted, now=NOW, after=after, limit=41)

    plan = await explained(untouched, *openings.doctors_first(way, wanted, page))

    goes_by(plan, "doctor" if way is Way.BY_DOCTOR else "specialization")
    assert plan.count("Sort  (") == (way is Way.BY_DOCTOR), plan
    if way is Way.BY_SET:
        assert "(hashed SubPlan " in plan, f"not gathered once: {plan}"
        assert "doctors_by_specialization" in plan, f"every doctor is looked at: {plan}"


@pytest.mark.parametrize("kind", Kind)
async def test_by_time_slots_are_found_by_an_index(young: str, kind: Kind) -> None:
    """Whatever is asked: planned once, for no values in particular, perhaps while there is hardly a slot to read."""
    plan, settings = await explained_of_function(young, f"booking.next_openings_by_{kind}")

    goes_by(plan, kind)
    assert "Sort" not in plan, plan
    assert plan.count("Limit") == 2, f"without a LIMIT 1 of its own, it may begin with the doctors: {plan}"
    # What a plan for no values looks dear for must neither have it planned anew nor compiled.
    assert {"plan_cache_mode=force_generic_plan", "jit=off"} < settings


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_the_index_is_that_of_what_is_asked_for(names: tuple[str, ...]) -> None:
    """A doctor has fewer slots than a specialization, and that fewer than all."""
    wanted, _ = narrowed(names)
    best = next((name for name in ("doctor_id", "specialization") if name in names), "time").removesuffix("_id")

    assert by_time.kind_of(wanted) == best


@pytest.mark.parametrize(
    ("starts_from", "cursor_at", "begins"),
    [
        (None, None, "after now"),
        (-1, None, "after now"),
        (0, None, "after now"),
        (1, None, "from there on"),
        (None, -1, "after now"),
        (None, 0, "after now"),
        (None, 1, "after the cursor"),
        (1, 1, "after the cursor"),
        (1, 2, "after the cursor"),
        (2, 1, "from there on"),
    ],
)
def test_a_search_begins_at_the_latest_of_its_bounds(
    starts_from: int | None, cursor_at: int | None, begins: str
) -> None:
    """Now is over, `from` is not, and a cursor is where its page ended; in hours from now."""
    tick = timedelta(microseconds=1)
    earliest = NOW + timedelta(hours=starts_from) if starts_from is not None else None
    after = Cursor(NOW + timedelta(hours=cursor_at), uuid4()) if cursor_at is not None else None

    question = by_time.asked(SearchSlots(**{"from": earliest}), now=NOW, after=after, limit=1)

    expected: dict[str, tuple[datetime | None, UUID | None]] = {
        "after now": (NOW, None),
        "from there on": (earliest - tick if earliest else None, None),
        "after the cursor": (after.at, after.id) if after else (None, None),
    }
    assert (question.after_at, question.after_id) == expected[begins]


def goes_by(plan: str, index: str) -> None:
    """Look that a plan reads slots from one place on in that index, and neither table."""
    used = re.findall(r"(Index.* Scan) using (\S+) on slots\b", plan)
    assert used == [("Index Only Scan", f"slots_search_by_{index}")], plan
    assert len(re.findall(r"\bon slots\b", plan)) == 1, plan
    assert re.findall(r"(Index.* Scan) using (\S+) on users\b", plan) == [("Index Only Scan", "users_doctors")], plan
    bounds = re.findall(r"Index Cond: .*ROW\(starts_at, id\) > ROW\(", plan)
    assert len(bounds) == 1 == plan.count("ROW(starts_at, id) >"), f"filters from the first: {plan}"
    assert not re.search(r"starts_at >=? '", plan), f"more than one lower bound, so it filters from the first: {plan}"


def narrowed(names: tuple[str, ...]) -> tuple[SearchSlots, Cursor | None]:
    values: dict[str, Any] = {
        "doctor_id": uuid4(),
        "specialization": "x",
        "language": "en",
        "max_fee_minor": 1,
        "from": "2026-11-24T09:00:00Z",
        "to": "2026-11-25T09:00:00Z",
    }
    after = Cursor(datetime(2026, 11, 24, tzinfo=UTC), uuid4()) if "cursor" in names else None
    return SearchSlots(**{name: values[name] for name in names if name != "cursor"}), after


async def test_how_many_doctors_match_decides_and_is_counted_once_a_minute(
    clinic: Clinic, resources: Resources, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that is old makes a search slower, never wrong."""
    field = f"Nephrology {uuid4().hex[:12]}"
    doctors = [await clinic.doctor(specialization=field, languages=["en"]) for _ in range(2)]
    monkeypatch.setattr(openings, "_FEW", 2)
    monkeypatch.setattr(openings, "_MANY", 3)
    finder = Openings()

    async def search(**filters: Any) -> Way | None:
        wanted = SearchSlots(**filters)
        await resources.db.read_directly(partial(finder.find, wanted=wanted, now=clock.now(), after=None, limit=5))
        return finder.known_way(wanted, now=clock.now())

    assert await search(specialization=field, language="en") is Way.BY_DOCTOR
    doctors.append(await clinic.doctor(specialization=field, languages=["en"]))
    assert await search(specialization=field, language="en") is Way.BY_DOCTOR, "counted anew"
    assert await search(specialization=field, max_fee_minor=10**6) is Way.BY_SET
    clock.advance(timedelta(seconds=60))
    assert await search(specialization=field, language="en") is Way.BY_SET
    doctors.append(await clinic.doctor(specialization=field, languages=["en"]))
    clock.advance(timedelta(seconds=60))
    assert await search(specialization=field, language="en") is Way.BY_TIME
    for _ in range(3):
        await clinic.doctor(specialization=field, languages=["zu"])
    assert await search(language="zu") is Way.BY_TIME, "to gather who speaks it is to look at every doctor there is"
    assert await search() is Way.BY_TIME
    assert await search(specialization=field) is Way.BY_TIME, "their slots have an index, however few they are"
    assert await search(doctor_id=UUID(doctors[0].id), language="en") is Way.BY_TIME


async def test_counts_of_other_filters_are_not_mixed_up_and_not_kept_for_ever(
    resources: Resources, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for a thousand specializations must not fill the memory."""
    monkeypatch.setattr(openings, "_COUNTS_KEPT", 3)
    finder = Openings()
    for number in range(9):
        wanted = SearchSlots(language=f"x{number}")
        await resources.db.read_directly(partial(finder.find, wanted=wanted, now=clock.now(), after=None, limit=5))
    assert [value for ((_, value),) in finder._ways] == ["x6", "x7", "x8"]


@pytest.fixture(scope="module")
def untouched(test_servers: TestServers) -> Iterator[str]:
    """Give the address of a database of which PostgreSQL has no statistics, so that plans do not depend on tests."""
    made = asyncio.run(clone(test_servers, unused_name()))
    yield made.services
    test_servers.drop_database(made.name)


@pytest.fixture(scope="module")
def young(test_servers: TestServers) -> Iterator[str]:
    """Give the address of a database with one doctor and one slot, of which PostgreSQL has taken note."""
    made = asyncio.run(_young(test_servers))
    yield made.services
    test_servers.drop_database(made.name)


async def _young(servers: TestServers) -> TestDatabase:
    made = await clone(servers, unused_name())
    connection = await asyncpg.connect(made.owner)
    try:
        for statement in (
            """
            INSERT INTO auth.users (id, email, full_name, role, password_hash, created_at)
            VALUES ($1, 'first@example.com', 'Dr. First', 'doctor', 'nobody logs in with this', now())
            """,
            """
            INSERT INTO booking.doctors (id, full_name, specialization, languages, fee_minor, fee_currency, time_zone,
                                         registration_number, is_listed, listed_at, version)
            VALUES ($1, 'Dr. First', 'Nephrology', '{en}', 50000, 'INR', 'Asia/Kolkata', 'NONE', true, now(), 1)
            """,
            """
            INSERT INTO booking.slots (id, doctor_id, starts_at, ends_at, status, version)
            VALUES ($1, $1, now(), now() + interval '20 minutes', 'open', 1)
            """,
        ):
            await connection.execute(statement, UUID(int=1))
        await connection.execute("VACUUM ANALYZE booking.slots, booking.doctors, auth.users")
    finally:
        await connection.close()
    return made


async def explained(database: str, statement: str, values: tuple[object, ...]) -> str:
    """Give the plan that a large table would have."""
    connection = await asyncpg.connect(database)
    try:
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(f"SET enable_{way} = off")
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
    finally:
        await connection.close()


async def explained_of_function(database: str, name: str) -> tuple[str, set[str]]:
    """Give the plan that a session keeps of the one query in a function, and the function's settings."""
    connection = await asyncpg.connect(database)
    try:
        (found,) = await connection.fetch(
            """
            SELECT prosrc, pg_get_function_identity_arguments(oid), proconfig FROM pg_proc
            WHERE oid = $1::text::regproc
            """,
            name,
        )
        source, types, settings = found
        for setting in settings:
            await connection.execute("SELECT set_config($1, $2, false)", *setting.replace('""', "").split("="))
        query = re.fullmatch(r"\s*BEGIN\s+RETURN QUERY (.*);\s+END\s*", source, re.DOTALL)
        assert query
        await connection.execute(f"PREPARE what_it_asks ({types}) AS {query[1]}")
        nulls = ", ".join(["NULL"] * len(types.split(",")))
        plan = await connection.fetch(f"EXPLAIN EXECUTE what_it_asks ({nulls})")
        return "\n".join(row[0] for row in plan), set(settings)
    finally:
        await connection.close()
