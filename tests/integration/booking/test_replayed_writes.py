"""A write whose process died before search heard of it, and whose success its client hears by a replay."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from tests.support.clinic import Clinic, doctor_card
from tests.support.people import People, User

from telemed.kernel.clock import ManualClock
from telemed.kernel.http.app import at_the_edge, build_api
from telemed.kernel.http.server import constraint_problems, opened
from telemed.kernel.resources import open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings

KEY = "the-key-of-a-patient-client"


@pytest.fixture
async def mute(
    settings: Settings, clock: ManualClock, services: tuple[Service, ...]
) -> AsyncIterator[httpx.AsyncClient]:
    """A second process on the same database whose notes reach nobody: it might as well have died after the commit."""
    deaf = settings.model_copy(update={"redis_url": None, "redis_port": 9})  # nothing listens on `discard`
    problems = constraint_problems(services)
    async with (
        open_resources(deaf, constraint_problems=problems, clock=clock) as resources,
        opened(services, resources),
    ):
        app = at_the_edge(build_api(services, resources, with_platform_routes=False), services, resources)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://telemed.test") as client:
            yield client


async def shown(people: People, doctor: User) -> list[str]:
    reply = await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)
    return [item["id"] for item in reply.json()["items"]]


async def test_a_replayed_booking_takes_its_slot_from_search(
    people: People, clinic: Clinic, mute: httpx.AsyncClient
) -> None:
    """From the replay on, as it would have been from the reply on."""
    doctor, patient = await clinic.doctor(), await people.patient()
    first, second = [slot["id"] for slot in await clinic.slots(doctor, 2)]
    assert await shown(people, doctor) == [first, second]

    body = {"slot_id": first}
    assert (await replace(patient, client=mute).post("/booking/slots/book", body, key=KEY)).status_code == 201
    assert await shown(people, doctor) == [first, second], "the note has got through, so this test shows nothing"
    replay = await patient.post("/booking/slots/book", body, key=KEY)

    assert replay.headers["Idempotency-Replayed"] == "true"
    assert await shown(people, doctor) == [second]


@pytest.mark.parametrize("act", ["cancel", "publish", "withdraw", "write"])
async def test_every_replayed_write_is_seen_by_search(
    people: People, clinic: Clinic, mute: httpx.AsyncClient, act: str
) -> None:
    """Those that give slots back, add some, take one away, or change what is shown of the doctor."""
    doctor, patient = await clinic.doctor(), await people.patient()
    first, second, third = [slot["id"] for slot in await clinic.slots(doctor, 3)]
    booked = (await patient.post("/booking/slots/book", {"slot_id": first})).json()["id"]
    times = {"starts_at": "2026-12-24T08:00:00Z", "ends_at": "2026-12-24T08:30:00Z"}
    requests = {
        "cancel": (patient, "POST", f"/booking/appointments/{booked}/cancel", None),
        "publish": (doctor, "POST", "/booking/slots", {"slots": [times]}),
        "withdraw": (doctor, "DELETE", f"/booking/slots/{third}", None),
        "write": (doctor, "PUT", "/booking/doctors/me", doctor_card(languages=["fr"])),
    }
    caller, method, path, body = requests[act]
    before = (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json()

    assert (await replace(caller, client=mute).request(method, path, body, key=KEY)).is_success
    assert (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json() == before
    replay = await caller.request(method, path, body, key=KEY)
    assert replay.headers["Idempotency-Replayed"] == "true"

    after = (await people.nobody.get("/booking/slots/search", doctor_id=doctor.id)).json()["items"]
    ids = [item["id"] for item in after]
    match act:
        case "cancel":
            assert ids == [first, second, third]
        case "publish":
            assert ids[:2] == [second, third]
            assert len(ids) == 3
        case "withdraw":
            assert ids == [second]
        case "write":
            assert {*after[0]["doctor"]["languages"]} == {"fr"}
