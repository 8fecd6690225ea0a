"""Who takes part in one drill: doctors with slots of this day, and patients. Every drill has people of its own."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.support.clinic import doctor_card
from tests.support.people import People
from tests.support.waiting import until
from tests.twin.history.model import Kind
from tests.twin.load.caller import Caller, Person, Wish

from telemed.kernel.text import rfc3339

SLOT = timedelta(minutes=5)
OPENS_IN = timedelta(hours=1)
# All slots of a drill lie within the day from which on a visit may be started (VISIT_OPENS_BEFORE_MINUTES of the twin),
# and no two doctors have slots of the same time: no patient is ever refused for being elsewhere.
WITHIN = timedelta(hours=22)
_PATIENCE_SECONDS = 30.0  # the drill before may have left everybody busy


@dataclass
class Population:
    """The people of one drill."""

    doctors: list[Person]
    patients: list[Person]
    slots: dict[str, list[str]]  # of each doctor, in the order of time

    @property
    def everybody(self) -> list[Person]:
        """Give all of them."""
        return self.doctors + self.patients

    @property
    def doctor_ids(self) -> list[str]:
        """Give the ids by which this drill's rows are found."""
        return [doctor.id for doctor in self.doctors]


async def settle(
    people: People, caller: Caller, *, doctors: int, slots: int, patients: int, key_prefix: str
) -> Population:
    """Make the people, and publish so many slots for each doctor, under keys of their own."""
    assert SLOT * doctors * slots <= WITHIN, "the slots do not fit into a day"
    listed = [Person(await people.doctor()) for _ in range(doctors)]
    opens_at = datetime.now(UTC).replace(second=0, microsecond=0) + OPENS_IN
    published: dict[str, list[str]] = {}
    for place, doctor in enumerate(listed):
        await _listed(doctor)
        starts = [opens_at + SLOT * (place * slots + number) for number in range(slots)]
        body: dict[str, Any] = {
            "slots": [{"starts_at": rfc3339(start), "ends_at": rfc3339(start + SLOT)} for start in starts]
        }
        wish = Wish(Kind.PUBLISH, "POST", "/booking/slots", body, key=f"{key_prefix}-publish-{place}")
        published[doctor.id] = list(await _published(caller, doctor, wish))
    return Population(listed, [Person(user) for user in await people.patients(patients)], published)


async def _listed(doctor: Person) -> None:
    async def is_listed() -> bool:
        try:
            return (await doctor.user.put("/booking/doctors/me", doctor_card())).is_success
        except httpx.TransportError:
            return False

    await until(is_listed, within_seconds=_PATIENCE_SECONDS, pause_seconds=0.5)


async def _published(caller: Caller, doctor: Person, wish: Wish) -> tuple[str, ...]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        done, answer = await caller.attempt(doctor, wish)
        if done.slots:
            return done.slots
        assert time.monotonic() < deadline, answer.text if answer is not None else "no answer"
        await asyncio.sleep(0.5)
