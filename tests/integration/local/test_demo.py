"""The demo: its story, its seed, and the commands that `make run` tells people to paste."""

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.platform import Platform, environment_of

from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.local.demo import demo_accounts, welcome
from telemed.local.demo.cast import DemoDoctor, OfficeHours, doctors, patients
from telemed.local.demo.office_hours import office_slots
from telemed.local.demo.seed import REQUEST_ID, SEED, seed
from telemed.local.demo.story import AHEAD, HISTORY, Kind, tell

README = Path(__file__).parents[3] / "README.md"
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # as the harness' clock
NINE_TO_FIVE = OfficeHours(time(9), time(12), time(13), time(17), tuple(range(7)), 30)
# A Monday morning, and the minute in which Europe's clocks are set back, on a Sunday night.
MOMENTS = (NOW, datetime(2026, 10, 25, 1, 0, tzinfo=UTC))


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    return fresh_database


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
        ("Australia/Sydney", datetime(2026, 10, 4, tzinfo=UTC)),
    ],
)
def test_office_hours_stay_when_the_clocks_change(zone: str, day: datetime) -> None:
    """Nine o'clock is nine o'clock on every day around the change, and every visit lasts half an hour."""
    slots = office_slots(NINE_TO_FIVE, zone, begin=day - timedelta(days=3), end=day + timedelta(days=4))
    begun = [slot.starts_at.astimezone(ZoneInfo(zone)) for slot in slots]
    assert {start.time() for start in begun} == {
        time(hour, minute) for hour in (9, 10, 11, 13, 14, 15, 16) for minute in (0, 30)
    }
    assert {slot.ends_at - slot.starts_at for slot in slots} == {timedelta(minutes=30)}


def test_the_clinic_is_as_large_as_it_says() -> None:
    """Forty doctors over twelve specializations, and sixty patients, whose addresses reach nobody."""
    people = [*doctors(), *patients()]
    assert len(doctors()) == 40
    assert len({doctor.specialization for doctor in doctors()}) == 12
    assert len(patients()) >= 60
    assert len({person.email for person in people}) == len(people)
    assert all(person.email.endswith("@example.com") for person in people)


@pytest.mark.parametrize("now", MOMENTS)
def test_one_moment_tells_one_story(now: datetime) -> None:
    """The same moment gives the same steps; all of them are over by then, in the order of time."""
    steps, again = tell(now, SEED), tell(now, SEED)
    assert [(step.at, step.kind, step.by) for step in steps] == [(step.at, step.kind, step.by) for step in again]
    moments = [step.at for step in steps]
    assert moments == sorted(moments)
    assert moments[-1] < now
    assert {step.kind for step in steps} == set(Kind)


def test_slots_lie_in_the_two_weeks_ahead_and_in_office_hours() -> None:
    """What is published lies between the beginning of the history and two weeks from now, where the doctor is awake."""
    published = [
        (step.known_doctor, slot) for step in tell(NOW, SEED) if step.kind is Kind.PUBLISH for slot in step.slots
    ]
    assert all(NOW - HISTORY <= slot.starts_at < NOW + AHEAD for _, slot in published)
    # The first doctor has one slot that follows the clock: the visit that can be started at once.
    offhand = [slot for doctor, slot in published if not _is_daytime(doctor, slot.starts_at)]
    assert len(offhand) <= 1


def _is_daytime(doctor: DemoDoctor, instant: datetime) -> bool:
    return 8 <= instant.astimezone(ZoneInfo(doctor.region.time_zone)).hour < 19


async def test_the_seed_is_what_the_services_themselves_would_have_written(
    resources: Resources, settings: Settings, owner: asyncpg.Connection
) -> None:
    """Every appointment has the audit records and events of its life, and nothing else is in the trail."""
    assert await resources.db.transact(seed, settings, ManualClock(NOW), _nobody)
    assert await _count(owner, "auth.users") == 1 + len(doctors()) + len(patients())
    assert await _count(owner, "booking.doctors WHERE is_listed") == 40
    states = {
        row[0]: row[1] for row in await owner.fetch("SELECT status, count(*) FROM booking.appointments GROUP BY 1")
    }
    assert set(states) == {"booked", "completed", "no_show", "cancelled", "rescheduled"}
    assert states["completed"] > 100
    booked = "type = 'appointment.booked' AND payload ->> 'appointment_id' = a.id::text"
    unsaid = f"booking.appointments AS a WHERE NOT EXISTS (SELECT FROM platform.outbox WHERE {booked})"
    untold = (
        "booking.appointments AS a WHERE NOT EXISTS "
        "(SELECT FROM audit.records AS r "
        "WHERE r.action = 'appointment.book' AND r.entity_id = a.id AND r.recorded_at = a.created_at)"
    )
    assert await _count(owner, unsaid) == 0
    assert await _count(owner, untold) == 0
    assert await _count(owner, f"audit.records WHERE request_id <> '{REQUEST_ID}'") == 0
    unprescribed = (
        "booking.appointments AS a WHERE status = 'completed' "
        "AND NOT EXISTS (SELECT FROM consultation.prescriptions WHERE consultation_id = a.id)"
    )
    assert await _count(owner, unprescribed) == 0
    assert not await resources.db.transact(seed, settings, ManualClock(NOW), _nobody), "a second seed changes nothing"


async def test_a_killed_seed_leaves_nothing_and_the_next_one_is_whole(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    """SIGKILL in the middle, then the same command again."""
    killed = _seed_process(settings)
    assert killed.stdout is not None
    for line in iter(killed.stdout.readline, ""):
        if "40 %" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert await _count(owner, "auth.users") == 0
    output, _ = _seed_process(settings).communicate(timeout=120)
    assert output.endswith("The demo data are complete.\n"), output
    assert await _count(owner, "booking.doctors") == 40


async def test_people_who_are_there_keep_the_demo_away(
    people: People, resources: Resources, settings: Settings
) -> None:
    """A database with users of its own is not one for accounts whose password everybody knows."""
    await people.patient()
    with pytest.raises(SettingsProblem, match="has users already"):
        await resources.db.transact(seed, settings, ManualClock(NOW), _nobody)


async def test_production_refuses_the_demo(resources: Resources, settings: Settings) -> None:
    """However empty it is."""
    production = settings.model_copy(update={"environment": "production"})
    with pytest.raises(SettingsProblem, match="ENVIRONMENT is production"):
        await resources.db.transact(seed, production, ManualClock(NOW), _nobody)


async def test_a_database_of_the_version_before_is_said_in_one_sentence(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    """Tables it has, and not yet what this version calls."""
    await owner.execute("DROP FUNCTION platform.write_ending")
    output, _ = await asyncio.to_thread(_seed_process(settings).communicate, timeout=120)
    assert "run `telemed migrate` first" in output
    assert "Traceback" not in output


async def test_the_demos_password_satisfies_the_policy(api: httpx.AsyncClient) -> None:
    """Anybody could have chosen it."""
    account = demo_accounts()[2]
    body = {"email": "new@example.com", "password": account.password, "full_name": account.full_name}
    assert (await api.post("/auth/register", json=body)).status_code == 201


async def test_what_is_printed_can_be_used(platform_processes: Platform, settings: Settings) -> None:
    """The commands book a visit each time they are pasted; the accounts have their roles; so does the README work.

    One test, because filling a platform takes seconds.
    """
    output, _ = await asyncio.to_thread(_seed_process(settings).communicate, timeout=120)
    assert output.endswith("complete.\n"), output
    (service,) = await platform_processes.serve("all")
    visits = [await asyncio.to_thread(_paste, welcome(service.url)) for _ in range(3)]
    assert {visit["status"] for visit in visits} == {"booked"}
    assert len({visit["id"] for visit in visits}) == 3
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        await _log_in_as_everybody(client)
    booked, started, prescribed = await asyncio.to_thread(_follow_the_readme, service.url)
    assert booked["status"] == "booked"
    assert started["status"] == "in_progress"
    assert prescribed["consultation_id"] == started["id"]


def _paste(text: str) -> dict[str, str]:
    """Run the welcome's commands, and give what the last one shows."""
    lines = [line for line in text.splitlines() if "curl" in line]
    assert len(lines) == 4
    (visit,) = _shown_by(lines)
    return visit


def _follow_the_readme(url: str) -> list[dict[str, str]]:
    """Run the README's five calls, and give what they show."""
    calls = README.read_text().split("\n## The API in five calls\n")[1].split("```sh\n")[1].split("```")[0]
    assert "localhost:3000" in calls
    return _shown_by(calls.replace("http://localhost:3000", url).splitlines())


def _shown_by(lines: list[str]) -> list[dict[str, str]]:
    """Run the lines as a shell does that they are pasted into."""
    pasted = subprocess.run(["bash"], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=False)
    assert pasted.stderr == ""
    return [json.loads(line) for line in pasted.stdout.splitlines()]


async def _log_in_as_everybody(client: httpx.AsyncClient) -> None:
    for account in demo_accounts():
        login = await client.post("/auth/login", json={"email": account.email, "password": account.password})
        me = await client.get("/auth/me", headers={"Authorization": f"Bearer {login.json()['access_token']}"})
        assert me.json()["role"] == account.role


async def _count(owner: asyncpg.Connection, what: str) -> int:
    return int(await owner.fetchval(f"SELECT count(*) FROM {what}"))


def _seed_process(settings: Settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "telemed.cli", "seed"],
        env=environment_of(settings),
        cwd="/",  # where no checkout's platform is found
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _nobody(_done: int, _steps: int) -> None:
    """Nobody watches."""
