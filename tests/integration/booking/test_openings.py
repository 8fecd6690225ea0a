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
from tests.support.databases import clone, unused_name
from tests.support.people import People
from tests.support.settings import NOW

from telemed.booking.slots import openings
from telemed.booking.slots.cards import Found
from telemed.booking.slots.openings import Openings, Question, Way, found_for
from telemed.booking.slots.schemas import FoundSlot, SearchSlots
from telemed.kernel.clock import ManualClock
from telemed.kernel.paging import Cursor
from telemed.kernel.resources import Resources

FILTERS = ("doctor_id", "specialization", "language", "max_fee_minor", "from", "to", "cursor")
OF_DOCTORS = {"specialization", "language", "max_fee_minor"}
COMBINATIONS = list(chain.from_iterable(combinations(FILTERS, count) for count in range(len(FILTERS) + 1)))

# Filters by which doctors are chosen have all ways, unless one doctor's slots are asked for.
WAYS_OF_COMBINATIONS = [
    (names, way)
    for names in COMBINATIONS
    for way in Way
    if way is Way.BY_TIME
    or ("doctor_id" not in names and set(names) & ({"specialization"} if way is Way.BY_SET else OF_DOCTORS))
]


@pytest.fixture(params=Way, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Whichever way: all must find the same."""
    monkeypatch.setattr(openings, "_way_for", lambda *_, **__: request.param)
    chosen: Way = request.param
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


async def found_together(resources: Resources, question: Question) -> list[FoundSlot]:
    """Ask it between others of its kind: one for its first two, and one for what begins in a hundred years."""
    statement, (begins_at, limit, *values) = question
    assert isinstance(begins_at, datetime)
    few = statement, (begins_at, 2, *values)
    none = statement, (begins_at + timedelta(days=36500), limit, *values)
    questions = [few, none, question, question]
    answers = [shown(one) for one in await resources.db.read_directly(partial(found_for, questions=questions))]
    assert answers == [answers[2][:2], [], answers[3], answers[2]]
    return answers[2]


async def test_what_cannot_be_booked_any_more_is_not_found(
    people: People, clinic: Clinic, resources: Resources, clock: ManualClock, owner: asyncpg.Connection, way: Way
) -> None:
    """A slot that begins now, and those of somebody who is a doctor no more; each search by each way."""
    field = f"Nephrology {uuid4().hex[:12]}"
    doctor, demoted = [await clinic.doctor(specialization=field) for _ in range(2)]
    first, second = await clinic.slots(doctor, 2)
    await clinic.slots(demoted, 2)
    await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id = $1", UUID(demoted.id))
    clock.advance(datetime.fromisoformat(first["starts_at"]) - clock.now())

    for filters in ({}, {"specialization": field}, {"doctor_id": UUID(doctor.id)}, {"doctor_id": UUID(demoted.id)}):
        openings_of_both = [
            str(slot.id)
            for slot in await found(resources, clock.now(), **filters)
            if slot.doctor.id in {UUID(doctor.id), UUID(demoted.id)}
        ]
        assert openings_of_both == ([] if filters.get("doctor_id") == UUID(demoted.id) else [second["id"]])


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
        asked = openings.asked(wanted, way, now=clock.now(), after=after, limit=10_000)
        assert await found_together(resources, asked) == seen, names
    assert everything == sorted(everything, key=lambda slot: (slot.starts_at, slot.id))
    assert len({slot.id for slot in everything}) == len(everything)


@pytest.mark.parametrize(
    ("names", "way"), WAYS_OF_COMBINATIONS, ids=lambda part: getattr(part, "name", None) or "+".join(part)
)
async def test_every_combination_of_filters_goes_by_an_index(untouched: str, names: tuple[str, ...], way: Way) -> None:
    """No slot is read that is not open, and at most the next ones of each of a few doctors are sorted.

    What is passed by and what is shown is in the index: the table is not looked at. Nor is that of users.
    """
    wanted, after = narrowed(names)

    plan = await explained(untouched, *openings.asked(wanted, way, now=NOW, after=after, limit=41))

    used = re.findall(r"(Index.* Scan) using (\S+) on slots\b", plan)
    assert used == [("Index Only Scan", index_for(names, way))], plan
    assert len(re.findall(r"\bon slots\b", plan)) == 1, plan
    assert re.findall(r"(Index.* Scan) using (\S+) on users\b", plan) == [("Index Only Scan", "users_doctors")], plan
    assert plan.count("Sort  (") == (way is Way.BY_DOCTOR), plan
    assert plan.count("starts_at >= '") == 1, f"more than one lower bound, so it filters from the first: {plan}"
    if way is Way.BY_SET:
        assert "(hashed SubPlan " in plan, f"not gathered once: {plan}"
        assert "doctors_by_specialization" in plan, f"every doctor is looked at: {plan}"


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
async def test_those_who_ask_together_go_by_the_same_index(untouched: str, names: tuple[str, ...]) -> None:
    """Once for each of them, and nothing is sorted: what is known of the values alone is in every row's condition."""
    wanted, after = narrowed(names)
    statement, values = openings.asked(wanted, Way.BY_TIME, now=NOW, after=after, limit=41)
    together = openings.for_many(statement)

    plan = await explained(untouched, together, tuple([value] * 3 for value in values))

    used = re.findall(r"(Index.* Scan) using (\S+) on slots\b", plan)
    assert used == [("Index Only Scan", index_for(names, Way.BY_TIME))], plan
    assert re.findall(r"(Index.* Scan) using (\S+) on users\b", plan) == [("Index Only Scan", "users_doctors")], plan
    assert "Sort" not in plan, plan
    assert plan.count("starts_at >= question.v1") == 1, plan
    assert len(re.findall(r"Index Cond: .*starts_at >= question.v1", plan)) == 1, plan


def index_for(names: tuple[str, ...], way: Way) -> str:
    """Give the index of slots that a search has to go by."""
    if way is Way.BY_DOCTOR or "doctor_id" in names:
        return "slots_search_by_doctor"
    return f"slots_search_by_{'specialization' if 'specialization' in names else 'time'}"


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
    ways: list[Way] = []

    def noted(wanted: SearchSlots, way: Way, **rest: Any) -> Any:
        ways.append(way)
        return ask(wanted, way, **rest)

    ask = openings.asked
    monkeypatch.setattr(openings, "asked", noted)
    monkeypatch.setattr(openings, "_FEW", 2)
    monkeypatch.setattr(openings, "_MANY", 3)
    finder = Openings()

    async def search(**filters: Any) -> Way:
        await resources.db.read_directly(
            partial(finder.find, wanted=SearchSlots(**filters), now=clock.now(), after=None, limit=5)
        )
        return ways[-1]

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
    assert [values for ((_, values),) in finder._ways] == [("x6",), ("x7",), ("x8",)]


@pytest.fixture(scope="module")
def untouched(test_servers: TestServers) -> Iterator[str]:
    """Give the address of a database of which PostgreSQL has no statistics, so that plans do not depend on tests."""
    made = asyncio.run(clone(test_servers, unused_name()))
    yield made.services
    test_servers.drop_database(made.name)


async def explained(database: str, statement: str, values: tuple[object, ...]) -> str:
    """Give the plan that a large table would have."""
    connection = await asyncpg.connect(database)
    try:
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(f"SET enable_{way} = off")
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
    finally:
        await connection.close()
