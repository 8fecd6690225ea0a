"""Writing one's own entry in the directory: all of it, listed, and never two."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from tests.support.clinic import doctor_card
from tests.support.people import People, User

from telemed.booking.doctors.schemas import DoctorCard
from telemed.kernel.clock import ManualClock


async def stored(owner: asyncpg.Connection, doctor: User) -> dict[str, Any]:
    """Read the doctor's entry; what search shows of it follows from the rest."""
    entry = dict(await owner.fetchrow("SELECT * FROM booking.doctors WHERE id = $1", UUID(doctor.id)) or {})
    fee = {"amount_minor": entry["fee_minor"], "currency": entry["fee_currency"]}
    assert entry.pop("card") == DoctorCard.model_validate(entry | {"fee": fee}).model_dump_json()
    return entry


async def test_an_entry_is_stored_as_it_was_written(
    people: People, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """Every field, under the name that auth knows, listed from now on."""
    doctor = await people.doctor(full_name="Dr. Āsha “Rao”")
    card = doctor_card(languages=["en", "hi-IN"], bio="Two lines.\nAnd \\ one {more}.")

    reply = await doctor.put("/booking/doctors/me", card)

    assert reply.json() == {**card, "id": doctor.id, "full_name": doctor.full_name}
    assert await stored(owner, doctor) == {
        "id": UUID(doctor.id),
        "full_name": doctor.full_name,
        "specialization": card["specialization"],
        "languages": card["languages"],
        "fee_minor": card["fee"]["amount_minor"],
        "fee_currency": card["fee"]["currency"],
        "time_zone": card["time_zone"],
        "bio": card["bio"],
        "registration_number": card["registration_number"],
        "is_listed": True,
        "listed_at": clock.now(),
        "version": 1,
    }


async def test_another_entry_takes_the_place_of_the_first(
    people: People, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """What is left out is removed; its place in the directory stays, and it is listed if it was not."""
    doctor = await people.doctor()
    await doctor.put("/booking/doctors/me", doctor_card())
    first = await stored(owner, doctor)
    await owner.execute("UPDATE booking.doctors SET is_listed = false WHERE id = $1", UUID(doctor.id))
    await owner.execute("UPDATE auth.users SET full_name = 'Another Name' WHERE id = $1", UUID(doctor.id))
    clock.advance(timedelta(minutes=1))
    other = doctor_card(
        specialization="Nephrology",
        languages=["ta"],
        fee={"amount_minor": 0, "currency": "EUR"},
        time_zone="Europe/Berlin",
        registration_number="MCI-9",
    )
    del other["bio"]

    reply = await doctor.put("/booking/doctors/me", other)

    assert reply.json() == {**other, "bio": None, "id": doctor.id, "full_name": "Another Name"}
    assert await stored(owner, doctor) == first | {
        "full_name": "Another Name",
        "specialization": "Nephrology",
        "languages": ["ta"],
        "fee_minor": 0,
        "fee_currency": "EUR",
        "time_zone": "Europe/Berlin",
        "bio": None,
        "registration_number": "MCI-9",
        "version": 2,
    }
