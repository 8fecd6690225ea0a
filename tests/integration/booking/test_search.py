"""Search: right at every moment, and from the cache most of the time."""

import asyncio
import sys
import unicodedata
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from tests.support.clinic import Clinic, doctor_card
from tests.support.people import Caller, People

from telemed.kernel.cache.line import Command, Line
from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources
from telemed.kernel.text import lowered


async def found(caller: Caller, **query: Any) -> list[str]:
    reply = await caller.get("/booking/slots/search", **query)
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["items"]]


def lookups(resources: Resources, result: str) -> float:
    counted: float = resources.metrics.cache.labels("slot_search", result).value
    return counted


def unique(word: str) -> str:
    return f"{word} {uuid4().hex[:12]}"


async def test_a_slot_comes_with_its_doctors_card(people: People, clinic: Clinic) -> None:
    """What is fixed of the shape, and nothing private."""
    doctor = await clinic.doctor(specialization="Cardiology")
    (slot,) = await clinic.slots(doctor)

    page = (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json()

    card = {
        "id": doctor.id,
        "full_name": doctor.full_name,
        "specialization": "Cardiology",
        "languages": ["en", "hi"],
        "fee": {"amount_minor": 50_000, "currency": "INR"},
    }
    expected = {"id": slot["id"], "starts_at": slot["starts_at"], "ends_at": slot["ends_at"], "doctor": card}
    assert page == {"items": [expected], "next_cursor": None}


async def test_filters_narrow_the_search(people: People, clinic: Clinic) -> None:
    """Specialization and language regardless of case, fee inclusive, all of them together."""
    field = unique("Cardiology")
    cheap = await clinic.doctor(specialization=field, fee={"amount_minor": 100, "currency": "INR"}, languages=["ta"])
    dear = await clinic.doctor(specialization=field, fee={"amount_minor": 101, "currency": "INR"}, languages=["en"])
    (one,), (two,) = await clinic.slots(cheap), await clinic.slots(dear)
    search = people.nobody

    assert set(await found(search, specialization=field.upper())) == {one["id"], two["id"]}
    assert await found(search, specialization=field, max_fee_minor=100) == [one["id"]]
    assert await found(search, specialization=field, language="EN") == [two["id"]]
    assert await found(search, specialization=field, language="nh") == []
    assert await found(search, specialization=field, doctor_id=cheap.id) == [one["id"]]
    assert await found(search, specialization=unique("nothing")) == []


@pytest.mark.parametrize("field", ["ΚΑΡΔΙΟΛΟΓΟΣ", "İÇ HASTALIKLARI", "ΠΑΘΟΛΟΓΟΣ ΠΑΙΔΙΩΝ", "ГИНЕКОЛОГ"])
async def test_a_specialization_is_found_in_every_script(people: People, clinic: Clinic, field: str) -> None:
    """As its doctor wrote it, by search and in the directory; the database lowers some letters unlike Python."""
    doctor = await clinic.doctor(specialization=field)
    (slot,) = await clinic.slots(doctor)

    assert slot["id"] in await found(people.nobody, specialization=field, limit=100)
    assert slot["id"] in await found(people.nobody, specialization=field, language="en", limit=100)
    booked = await (await people.patient()).post("/booking/slots/book", {"slot_id": slot["id"]})
    assert booked.status_code == 201
    assert slot["id"] not in await found(people.nobody, specialization=field, limit=100)
    directory = await people.nobody.get("/booking/doctors", specialization=field, limit=100)
    assert doctor.id in [item["id"] for item in directory.json()["items"]]


async def test_every_letter_is_lowered_as_the_database_does_it(owner: asyncpg.Connection) -> None:
    """Every one there is, alone and at a word's end."""
    letters = [chr(n) for n in range(0x20, sys.maxunicode) if unicodedata.category(chr(n)) in {"Lu", "Lt", "Nl", "So"}]
    words = letters + [f"A{letter}" for letter in letters]

    assert await owner.fetchval("SELECT array_agg(lower(word)) FROM unnest($1::text[]) AS word", words) == [
        lowered(word) for word in words
    ]


async def test_instants_may_have_any_offset(people: People, clinic: Clinic) -> None:
    """From is inclusive, to is not; an offset's plus that was not escaped is understood."""
    doctor = await clinic.doctor()
    slots = await clinic.slots(doctor, 3)  # 08:00, 08:30, 09:00 UTC on the 24th
    search = people.nobody

    for start in ("2026-11-24T14:00:00+05:30", "2026-11-24T14:00:00 05:30", "2026-11-24T03:30:00-05:00"):
        assert await found(search, doctor_id=doctor.id, from_=start) == [slots[1]["id"], slots[2]["id"]]
    assert await found(search, doctor_id=doctor.id, to="2026-11-24T14:00:00+05:30") == [slots[0]["id"]]


@pytest.mark.parametrize(
    "query",
    [
        {"from_": "2026-11-24T09:00:00"},
        {"from_": "1760000000"},
        {"from_": "9999-12-31T23:59:59Z"},
        {"from_": "2026-11-24T09:00:00Z", "to": "2026-11-24T09:00:00Z"},
        {"limit": 0},
        {"limit": 101},
        {"cursor": "no-cursor"},
        {"doctor_id": "no-id"},
        {"max_fee_minor": -1},
        {"specialization": "a\x00b"},
    ],
)
async def test_a_senseless_query_is_refused(people: People, query: dict[str, Any]) -> None:
    """With 422 and the place of the fault."""
    reply = await people.nobody.get("/booking/slots/search", **query)

    assert (reply.status_code, reply.json()["type"]) == (422, "invalid-request")
    assert reply.json()["errors"]


async def test_pages_follow_each_other(people: People, clinic: Clinic) -> None:
    """In order of time, complete, without repetition, while slots on the way are being booked."""
    doctor, patient = await clinic.doctor(), await people.patient()
    slots = [slot["id"] for slot in await clinic.slots(doctor, 12)]
    seen: list[str] = []
    cursor = None

    while True:
        reply = await people.nobody.get("/booking/slots/search", doctor_id=doctor.id, limit=5, cursor=cursor)
        seen += [item["id"] for item in reply.json()["items"]]
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            break
        assert (await patient.post("/booking/slots/book", {"slot_id": seen[0]})).status_code in {201, 409}

    assert seen == slots


async def test_what_changes_shows_at_once(people: People, clinic: Clinic) -> None:
    """Published, booked, cancelled, withdrawn, a new fee: each is seen by the very next search, cached or not."""
    doctor, patient = await clinic.doctor(), await people.patient()
    field = unique("Dermatology")
    await doctor.put("/booking/doctors/me", doctor_card(specialization=field))
    searches: list[dict[str, Any]] = [
        {"doctor_id": doctor.id},
        {"specialization": field},
        {"specialization": field, "limit": 100},
    ]

    async def all_see(*expected: str) -> None:
        for query in searches * 2:
            assert await found(people.nobody, **query) == list(expected)

    await all_see()
    first, second = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    await all_see(first, second)
    booked = await patient.post("/booking/slots/book", {"slot_id": first})
    await all_see(second)
    await patient.post(f"/booking/appointments/{booked.json()['id']}/cancel")
    await all_see(first, second)
    await doctor.delete(f"/booking/slots/{first}")
    await all_see(second)
    await doctor.put(
        "/booking/doctors/me", doctor_card(specialization=field, fee={"amount_minor": 7, "currency": "INR"})
    )
    page = (await people.nobody.get("/booking/slots/search", specialization=field)).json()
    assert page["items"][0]["doctor"]["fee"]["amount_minor"] == 7
    moved = unique("Venereology")
    await doctor.put("/booking/doctors/me", doctor_card(specialization=moved))
    assert await found(people.nobody, specialization=field) == []
    assert await found(people.nobody, specialization=moved) == [second]


async def test_hits_stay_hits_while_bookings_run(people: People, clinic: Clinic, resources: Resources) -> None:
    """Thirty bookings out of one page: every search is right, and at most a few of them ask the database."""
    field = unique("Psychiatry")
    doctor = await clinic.doctor(specialization=field)
    slots = [slot["id"] for slot in await clinic.slots(doctor, 48)]
    patients = await people.patients(30)
    assert await found(people.nobody, specialization=field, limit=10) == slots[:10]
    hits, misses = lookups(resources, "hit"), lookups(resources, "miss")

    for place, patient in enumerate(patients):
        assert (await patient.post("/booking/slots/book", {"slot_id": slots[place]})).status_code == 201
        assert await found(people.nobody, specialization=field, limit=10) == slots[place + 1 :][:10]

    assert lookups(resources, "hit") - hits >= 27
    assert lookups(resources, "miss") - misses <= 3


async def test_what_is_gone_from_many_pages_is_asked_in_one_question(
    people: People, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a booking everybody's pages are looked through again: those of a crowd at once, and each by its own."""
    doctors = [await clinic.doctor() for _ in range(8)]
    slots = [[slot["id"] for slot in await clinic.slots(doctor, 2)] for doctor in doctors]
    for doctor in doctors:
        await found(people.nobody, doctor_id=doctor.id)
    (patient,) = await people.patients(1)
    assert (await patient.post("/booking/slots/book", {"slot_id": slots[3][0]})).status_code == 201
    sent: list[list[str | bytes | int]] = []
    ask = Line.ask

    async def watched(line: Line, *commands: Command) -> list[Any]:
        sent.append([words[0] for words in commands])
        return await ask(line, *commands)

    monkeypatch.setattr(Line, "ask", watched)
    pages = await asyncio.gather(*(found(people.nobody, doctor_id=doctor.id) for doctor in doctors))

    assert pages == [*slots[:3], slots[3][1:], *slots[4:]]
    about_gone = [commands.count("SMISMEMBER") for commands in sent if "SMISMEMBER" in commands]
    assert sum(about_gone) >= len(doctors)
    assert len(about_gone) <= 2


async def test_a_slot_disappears_when_it_begins(people: People, clinic: Clinic, clock: ManualClock) -> None:
    """From a cached page too."""
    doctor = await clinic.doctor()
    first, second = [slot["id"] for slot in await clinic.slots(doctor, 2, starts_at=clock.now() + timedelta(seconds=4))]
    assert await found(people.nobody, doctor_id=doctor.id) == [first, second]

    clock.advance(timedelta(seconds=4))

    assert await found(people.nobody, doctor_id=doctor.id) == [second]


async def test_an_old_page_is_refreshed_behind_the_callers_back(
    people: People, clinic: Clinic, clock: ManualClock, resources: Resources
) -> None:
    """Past its fresh time it is given once more while one load renews it."""
    doctor = await clinic.doctor()
    (slot,) = await clinic.slots(doctor)
    await found(people.nobody, doctor_id=doctor.id)
    stale, hits = lookups(resources, "stale"), lookups(resources, "hit")

    clock.advance(timedelta(seconds=resources.settings.search_fresh_seconds + 1))
    assert await found(people.nobody, doctor_id=doctor.id) == [slot["id"]]
    async with asyncio.timeout(5):
        while lookups(resources, "hit") == hits:
            assert await found(people.nobody, doctor_id=doctor.id) == [slot["id"]]

    assert lookups(resources, "stale") - stale >= 1


async def test_many_readers_cause_one_load(people: People, clinic: Clinic, resources: Resources) -> None:
    """Nearly two hundred at once, as many as a process lets browse, on a page that nobody has asked for yet."""
    field = unique("Neurology")
    await clinic.slots(await clinic.doctor(specialization=field), 3)
    committed = resources.metrics.transactions.labels("committed")._value.get()

    pages = await asyncio.gather(*(found(people.nobody, specialization=field) for _ in range(190)))

    assert all(page == pages[0] for page in pages)
    assert resources.metrics.transactions.labels("committed")._value.get() - committed == 1


async def test_unknown_parameters_do_no_harm(people: People) -> None:
    """Nor does a repeated one."""
    reply: httpx.Response = await people.nobody.client.get("/booking/slots/search?nix=1&limit=3&limit=4")

    assert reply.status_code == 200
