"""The statements of search: what they find, and by which way."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, combinations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.clinic import Clinic
from tests.support.people import People
from tests.support.settings import NOW

from telemed.booking.slots import openings
from telemed.booking.slots.openings import Opening
from telemed.booking.slots.schemas import SearchSlots
from telemed.kernel.clock import ManualClock
from telemed.kernel.direct import Direct
from telemed.kernel.paging import Cursor
from telemed.kernel.resources import Resources

FILTERS = ("doctor_id", "specialization", "language", "max_fee_minor", "from", "to", "cursor")
COMBINATIONS = list(chain.from_iterable(combinations(FILTERS, count) for count in range(len(FILTERS) + 1)))


@pytest.fixture(params=[0, 50], ids=["by time", "by doctor"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many doctors are few: either way must find the same."""
    monkeypatch.setattr(openings, "_FEW", request.param)
    openings.statement_for.cache_clear()
    yield request.param
    openings.statement_for.cache_clear()


def may_be_shown(opening: Opening, wanted: SearchSlots, after: Cursor | None) -> bool:
    """Say in Python what the filters mean."""
    return (
        wanted.doctor_id in {None, opening.doctor_id}
        and wanted.specialization in {None, opening.specialization.lower()}
        and (wanted.language is None or wanted.language in {language.lower() for language in opening.languages})
        and (wanted.max_fee_minor is None or opening.fee_minor <= wanted.max_fee_minor)
        and (wanted.starts_from is None or opening.starts_at >= wanted.starts_from)
        and (wanted.starts_before is None or opening.starts_at < wanted.starts_before)
        and (after is None or (opening.starts_at, opening.id) > (after.at, after.id))
    )


async def found(resources: Resources, now: datetime, after: Cursor | None = None, **filters: Any) -> list[Opening]:
    wanted = SearchSlots(**filters)
    # A limit beyond all that tests have made.
    search = partial(openings.openings, wanted=wanted, now=now, after=after, limit=10_000)
    return await resources.db.read_directly(search)


async def test_what_cannot_be_booked_any_more_is_not_found(
    people: People, clinic: Clinic, resources: Resources, clock: ManualClock, owner: asyncpg.Connection, few: int
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
            str(opening.id)
            for opening in await found(resources, clock.now(), **filters)
            if opening.doctor_id in {UUID(doctor.id), UUID(demoted.id)}
        ]
        assert openings_of_both == ([] if filters.get("doctor_id") == UUID(demoted.id) else [second["id"]])


async def test_every_combination_of_filters_finds_what_one_would_pick(
    people: People, clinic: Clinic, resources: Resources, clock: ManualClock, few: int
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
    assert not {opening.id for opening in everything} & {UUID(booked.json()["slot_id"])}
    (middle,) = (opening for opening in everything if opening.id == UUID(slots[1]["id"]))
    values: dict[str, Any] = {
        "doctor_id": middle.doctor_id,
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

        assert seen == [opening for opening in everything if may_be_shown(opening, wanted, after)], names
    assert everything == sorted(everything, key=lambda opening: (opening.starts_at, opening.id))
    assert len({opening.id for opening in everything}) == len(everything)


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
async def test_every_combination_of_filters_goes_by_an_index(resources: Resources, names: tuple[str, ...]) -> None:
    """No slot is read that is not open, and at most the next ones of each of a few doctors are sorted."""
    values: dict[str, Any] = {
        "doctor_id": uuid4(),
        "specialization": "x",
        "language": "en",
        "max_fee_minor": 1,
        "from": "2026-11-24T09:00:00Z",
        "to": "2026-11-25T09:00:00Z",
    }
    wanted = SearchSlots(**{name: values[name] for name in names if name != "cursor"})
    after = Cursor(datetime(2026, 11, 24, tzinfo=UTC), uuid4()) if "cursor" in names else None

    plan = await explained(resources, *openings.asked(wanted, now=NOW, after=after, limit=41))

    is_narrowed = {"specialization", "language", "max_fee_minor"} & set(names) and "doctor_id" not in names
    ways = ["slots_open_by_doctor"] if "doctor_id" in names else ["slots_open_by_time"]
    ways += ["slots_open_by_doctor"] if is_narrowed else []
    assert sorted(re.findall(r"Index Scan using (\S+) on slots\b", plan)) == sorted(ways), plan
    assert len(re.findall(r"\bon slots\b", plan)) == len(ways), plan
    assert plan.count("Sort  (") == len(ways) - 1, plan
    assert plan.count("starts_at >= '") == len(ways), f"more than one lower bound, so it filters from the first: {plan}"


async def explained(resources: Resources, statement: str, values: tuple[object, ...]) -> str:
    """Give the plan that a large table would have."""

    async def on_a_large_table(session: AsyncSession) -> str:
        # The test's is small, and how small depends on the tests before.
        for way in ("seqscan", "bitmapscan", "sort"):
            await session.execute(text(f"SET LOCAL enable_{way} = off"))
        rows = await (await Direct.inside(session)).rows(f"EXPLAIN {statement}", *values)
        return "\n".join(row[0] for row in rows)

    return await resources.db.read(on_a_large_table)
