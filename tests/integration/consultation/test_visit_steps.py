"""Start, complete and no-show: by whom, when, from which state, and what each leaves behind."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.integration.consultation.conftest import MakeVisit
from tests.support.people import People

from telemed.consultation.visits.rules import STARTABLE_AFTER_END
from telemed.kernel.clock import ManualClock

STEPS = ("start", "complete", "no-show")


async def test_a_visit_is_started_and_completed(make_visit: MakeVisit, clock: ManualClock) -> None:
    """Each step shows its instant, leaves its record and its event, and counts a version."""
    visit = await make_visit()
    started = await visit.doctor.post(f"{visit.path}/start")
    assert started.status_code == 200
    assert (started.json()["status"], started.json()["started_at"]) == ("in_progress", "2026-11-23T08:00:00Z")
    clock.advance(timedelta(minutes=9))
    completed = await visit.doctor.post(f"{visit.path}/complete")
    assert completed.status_code == 200
    assert completed.json() == started.json() | {"status": "completed", "completed_at": "2026-11-23T08:09:00Z"}
    assert (await visit.patient.get(visit.path)).json() == completed.json()
    assert (await visit.row())["version"] == 3
    assert await visit.events() == ["consultation.started", "consultation.completed"]
    for action in ("consultation.start", "consultation.complete"):
        (record,) = await visit.trail(action)
        assert (record["outcome"], str(record["patient_id"])) == ("allowed", visit.patient.id)


async def test_a_patient_who_did_not_come_is_recorded(make_visit: MakeVisit) -> None:
    """From the visit's instant on; it cannot be started any more."""
    visit = await make_visit()
    missed = await visit.doctor.post(f"{visit.path}/no-show")
    assert (missed.status_code, missed.json()["status"]) == (200, "no_show")
    assert await visit.events() == ["consultation.missed"]
    again = await visit.doctor.post(f"{visit.path}/start")
    assert (again.status_code, again.json()["type"], again.json()["state"]) == (409, "step-not-allowed", "no_show")


async def test_a_visit_opens_fifteen_minutes_before_its_time(make_visit: MakeVisit, clock: ManualClock) -> None:
    """Earlier is 409 with the instant, and the same key works once the time has come."""
    visit = await make_visit(starts_in=timedelta(minutes=20))
    early = await visit.doctor.post(f"{visit.path}/start", key="start")
    assert (early.status_code, early.json()["type"]) == (409, "visit-not-open-yet")
    assert early.json()["opens_at"] == "2026-11-23T08:05:00Z"
    assert (await visit.row())["version"] == 1
    clock.advance(timedelta(minutes=5))
    assert (await visit.doctor.post(f"{visit.path}/start", key="start")).status_code == 200


async def test_a_late_doctor_may_start_until_a_day_after_the_end(make_visit: MakeVisit) -> None:
    """Hours late is fine, another day is another visit."""
    late = await make_visit(starts_in=-timedelta(hours=20))
    assert (await late.doctor.post(f"{late.path}/start")).status_code == 200
    lapsed = await make_visit(starts_in=-STARTABLE_AFTER_END - timedelta(hours=1))
    refused = await lapsed.doctor.post(f"{lapsed.path}/start")
    assert (refused.status_code, refused.json()["type"]) == (409, "visit-lapsed")
    assert (await lapsed.doctor.post(f"{lapsed.path}/no-show")).status_code == 200


async def test_nobody_is_missed_before_the_time(make_visit: MakeVisit) -> None:
    """A minute early is 409 with the instant."""
    visit = await make_visit(starts_in=timedelta(minutes=1))
    refused = await visit.doctor.post(f"{visit.path}/no-show")
    assert (refused.status_code, refused.json()["type"]) == (409, "no-show-too-early")
    assert refused.json()["allowed_from"] == "2026-11-23T08:01:00Z"


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("booked", {"start", "no-show"}),
        ("in_progress", {"complete"}),
        ("completed", set()),
        ("no_show", set()),
        ("cancelled", set()),
        ("rescheduled", set()),
    ],
)
async def test_only_the_tables_steps_are_allowed(state: str, allowed: set[str], make_visit: MakeVisit) -> None:
    """From every state every step: those of the table work, the others are 409 naming the state."""
    for step in STEPS:
        visit = await make_visit(status=state)
        reply = await visit.doctor.post(f"{visit.path}/{step}")
        if step in allowed:
            assert reply.status_code == 200, (state, step)
        else:
            assert (reply.status_code, reply.json()["type"]) == (409, "step-not-allowed")
            assert reply.json()["state"] == state
            assert await visit.events() == []


@pytest.mark.parametrize("step", STEPS)
async def test_the_patient_is_told_that_it_is_not_their_step(step: str, make_visit: MakeVisit) -> None:
    """Theirs to see, so 403 and not 404; the refusal is in the trail."""
    visit = await make_visit()
    reply = await visit.patient.post(f"{visit.path}/{step}")
    assert (reply.status_code, reply.json()["type"]) == (403, "forbidden")
    (record,) = await visit.trail(f"consultation.{step.replace('-', '_')}")
    assert (record["outcome"], str(record["actor_id"])) == ("denied", visit.patient.id)
    assert (await visit.row())["status"] == "booked"


@pytest.mark.parametrize("step", STEPS)
async def test_others_find_no_visit_to_step(step: str, make_visit: MakeVisit, people: People) -> None:
    """Another patient, another doctor, an admin: 404 and a record each, nothing changed."""
    visit = await make_visit()
    for other in (await people.patient(), await people.doctor(), await people.admin()):
        assert (await other.post(f"{visit.path}/{step}")).status_code == 404
    records = await visit.trail(f"consultation.{step.replace('-', '_')}")
    assert [record["outcome"] for record in records] == ["denied"] * 3
    assert {str(record["patient_id"]) for record in records} == {visit.patient.id}
    assert (await visit.row())["status"] == "booked"


async def test_of_ten_starts_at_once_one_wins(make_visit: MakeVisit) -> None:
    """Under keys of their own; the others are told that it is in progress."""
    visit = await make_visit()
    replies = await asyncio.gather(*(visit.doctor.post(f"{visit.path}/start", key=f"k{n}") for n in range(10)))
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 9
    assert {reply.json()["state"] for reply in replies if reply.status_code == 409} == {"in_progress"}
    assert await visit.events() == ["consultation.started"]
    assert (await visit.row())["version"] == 2


async def test_a_repeated_key_gives_the_same_bytes(make_visit: MakeVisit, clock: ManualClock) -> None:
    """The repetition changes nothing, even after the visit went on."""
    visit = await make_visit()
    first = await visit.doctor.post(f"{visit.path}/start", key="once")
    clock.advance(timedelta(minutes=1))
    await visit.doctor.post(f"{visit.path}/complete")
    again = await visit.doctor.post(f"{visit.path}/start", key="once")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await visit.row())["status"] == "completed"


async def test_a_visit_does_not_end_before_it_began(
    make_visit: MakeVisit, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """The machine that completes may be behind the one that started."""
    visit = await make_visit(status="in_progress")
    started_at = clock.now() + timedelta(seconds=2)
    await owner.execute("UPDATE booking.appointments SET started_at = $2 WHERE id = $1", UUID(visit.id), started_at)
    completed = (await visit.doctor.post(f"{visit.path}/complete")).json()
    assert completed["completed_at"] == completed["started_at"] == "2026-11-23T08:00:02Z"
