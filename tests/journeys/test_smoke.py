"""`telemed smoke`: says whether a running platform works, names what does not, and leaves nothing behind."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from tests.support.commands import Finished, begun, finished
from tests.support.fleet import Fleet
from tests.support.meddler import Meddler, hold, made_answer, meddling_with
from tests.support.platform import environment_of
from tests.support.settings import make_settings
from tests.support.synthetic import NAMES, Scene

from telemed.kernel.ids import uuid7
from telemed.local.processes import free_port
from telemed.smoke.cast import SPECIALIZATION

FLEET = NAMES
RECORDS = "SELECT count(*) FROM audit.records"
# The search for this run's slot alone; its parameters stand in this order.
OWN_SEARCH = "GET /booking/slots/search?from="
# What a process needs to start at all.
BARE = {"PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR"}


@pytest.fixture
async def scene(fleet: Fleet) -> AsyncIterator[Scene]:
    """One process of each service, which the tests share."""
    scene = Scene(fleet.settings, {name: fleet.of(name)[0] for name in NAMES}, fleet.owner)
    yield scene
    await scene.forget()


@pytest.fixture
async def booking(scene: Scene) -> AsyncIterator[Meddler]:
    """Stands before booking."""
    async with meddling_with(scene.processes["booking"].port) as meddler:
        yield meddler


async def test_a_platform_that_works_is_said_to_work(scene: Scene) -> None:
    """Exit code 0, each step with its time; nothing is left; the trail names every act of it."""
    done = await scene.smoke()
    assert (done.code, done.errors) == (0, ""), done
    *steps, verdict = done.output.splitlines()
    assert verdict.startswith(f"The platform works: {len(steps)} steps in ")
    assert all(float(step.split()[0]) >= 0 and step.split()[1] == "s" for step in steps)
    assert await scene.left() == {}
    assert await scene.count("SELECT count(*) FROM audit.records WHERE request_id NOT LIKE 'telemed-smoke-%'") == 0
    assert await scene.count(RECORDS) > 10


async def test_it_may_be_run_again_and_many_times_at_once(scene: Scene) -> None:
    """All of them succeed, with the same three accounts and one entry in the directory."""
    done = await asyncio.gather(*(scene.smoke("--timeout-seconds", "120") for _ in range(4)))
    assert [run.errors for run in done] == [""] * 4
    assert (await scene.smoke()).code == 0
    assert await scene.left() == {}
    assert await scene.count("SELECT count(*) FROM auth.users WHERE email LIKE '%smoke.example.com'") == 3
    listed = await scene.owner.fetch("SELECT specialization FROM booking.doctors")
    assert [row["specialization"] for row in listed] == [SPECIALIZATION]


async def test_without_the_database_a_given_doctor_will_do(scene: Scene, fleet: Fleet) -> None:
    """Nothing but the three addresses and the doctor's credentials is needed: no settings at all."""
    given = {"SMOKE_DOCTOR_EMAIL": "doctor@example.com", "SMOKE_DOCTOR_PASSWORD": "seven sailors sing softly"}
    account = {"email": given["SMOKE_DOCTOR_EMAIL"], "password": given["SMOKE_DOCTOR_PASSWORD"], "full_name": "Doctor"}
    made = await fleet.client.post("/auth/register", json=account)
    assert made.status_code == 201, made.text
    bare = {name: value for name, value in environment_of(scene.settings).items() if name in BARE}

    refused = await finished(await begun(bare | given, "smoke", *scene.arguments()))
    assert (refused.code, "the account is that of a patient" in refused.errors) == (1, True)

    await scene.owner.execute("UPDATE auth.users SET role = 'doctor' WHERE email = $1", account["email"])
    done = await finished(await begun(bare | given, "smoke", *scene.arguments()))
    assert (done.code, done.errors) == (0, ""), done
    assert await scene.left() == {}


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_that_is_down_is_named(scene: Scene, name: str) -> None:
    """With its address; what the others had been asked for is taken back."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = await scene.smoke(**{name: nowhere})
    assert_sentence(done, f"{name} at {nowhere} is not there: the connection was refused.")
    assert await scene.left() == {}


async def test_wrong_addresses_are_told_apart(scene: Scene, booking: Meddler) -> None:
    """A name that is none, another service of ours, something else that speaks HTTP, and something that does not."""
    done = await scene.smoke(booking="http://booking.invalid:3000")
    assert_sentence(done, "booking at http://booking.invalid:3000 cannot be found: its name is unknown.")

    done = await scene.smoke(consultation=scene.processes["auth"].url)
    assert_sentence(done, "answered GET /consultation with 404 not-found; is this the address of consultation?")

    async def website(_: str, __: bytes) -> bytes:
        return made_answer(200, b"<html>Welcome</html>", "text/html")

    booking.change = website
    done = await scene.smoke(booking=booking.url)
    assert_sentence(done, "with 200 text/html, as telemed never does; is this the address of booking?")

    async def chatter(_: str, __: bytes) -> bytes:
        return b"220 mail.example.com ESMTP\r\n"

    booking.change = chatter
    done = await scene.smoke(booking=booking.url)
    assert_sentence(done, "does not speak HTTP")

    done = await scene.smoke(auth=scene.processes["auth"].url.replace("http:", "https:"))
    assert_sentence(done, "cannot be trusted, or does not speak TLS")


async def test_without_a_database_nothing_is_begun(scene: Scene) -> None:
    """The sentence names the setting; no request has been sent."""
    before = await scene.count(RECORDS)
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/nothing")
    lost = Scene(scene.settings.model_copy(update={"database_url": nowhere}), scene.processes, scene.owner)
    assert_sentence(await lost.smoke(), "The database cannot be reached; is it running, and is DATABASE_URL right?")
    assert await scene.count(RECORDS) == before


async def test_a_service_that_refuses_auths_tokens_is_named(scene: Scene, fleet: Fleet) -> None:
    """Booking has another key: the sentence says what to compare."""
    (stranger,) = await fleet.platform.serve("booking", JWT_SECRET="another-secret-" + "0" * 32)
    done = await scene.smoke(booking=stranger.url)
    await fleet.platform.stop(stranger)
    assert_sentence(done, f"booking at {stranger.url} refuses the token that auth has issued: have both the same keys")
    assert await scene.left() == {}


async def test_a_password_that_auth_refuses_is_explained(scene: Scene) -> None:
    """The command has another secret than auth: the account that it made cannot be used."""
    foreign = scene.settings.model_copy(update={"pepper": SecretStr("another-pepper-" + "0" * 32)})
    done = await Scene(foreign, scene.processes, scene.owner).smoke()
    assert_sentence(done, "refuses the password of doctor@smoke.example.com; if the account was made by this command")


@pytest.mark.parametrize(
    ("line", "nth", "lie", "sentence"),
    [
        ("POST /booking/slots ", 1, (503, b'{"type": "overloaded", "trace_id": "abc"}'), "503 overloaded (trace abc)"),
        ("POST /booking/slots ", 1, None, "closed the connection without an answer"),
        (OWN_SEARCH, 1, (200, b'{"items": [], "next_cursor": null}'), "does not show the slot in search, though its"),
        ("POST /booking/slots/book", 1, (500, b'{"type": "internal-error"}'), "500 internal-error instead of 201"),
        ("POST /booking/slots/book", 1, None, "closed the connection without an answer"),
        ("GET /booking/appointments/", 1, (200, b"{}"), "the appointment has slot_id None instead of"),
        ("POST /booking/slots/book", 2, (201, b'{"id": "1"}'), "with 201 instead of 409 slot-taken"),
        ("GET /booking/appointments/", 2, (200, b"{}"), "with 200 instead of 404"),
        ("DELETE /booking/slots/", 1, (409, b'{"type": "slot-booked"}'), "with 409 slot-booked instead of 204"),
        ("PUT /booking/doctors/me", 1, (200, b"{"), "as telemed never does"),
    ],
)
async def test_a_promise_that_is_not_kept_fails_and_is_taken_back(  # the four are one case
    scene: Scene, booking: Meddler, line: str, nth: int, lie: tuple[int, bytes] | None, sentence: str
) -> None:
    """Whatever step fails half-way, and whether its answer came or not: what was made is gone afterwards."""
    asked_so_far = 0

    async def one_lie(asked: str, answer: bytes) -> bytes:
        nonlocal asked_so_far
        asked_so_far += asked.startswith(line)
        if not asked.startswith(line) or asked_so_far != nth:
            return answer
        return b"" if lie is None else made_answer(*lie)

    booking.change = one_lie
    done = await scene.smoke(booking=booking.url)
    assert asked_so_far >= nth
    assert_sentence(done, sentence)
    assert await scene.left() == {}


async def test_a_search_that_lags_behind_is_found_out(scene: Scene, booking: Meddler) -> None:
    """The slot is shown as it was before the booking: what a cache does that nobody told."""
    before: list[bytes] = []

    async def stale(asked: str, answer: bytes) -> bytes:
        if asked.startswith(OWN_SEARCH):
            before.append(answer)
            return before[0]
        return answer

    booking.change = stale
    assert_sentence(await scene.smoke(booking=booking.url), "shows the slot in search, though it is booked")
    assert await scene.left() == {}


@pytest.mark.parametrize("ends_by", ["SIGTERM", "its own time"])
async def test_a_run_that_is_stopped_takes_back_what_it_made(scene: Scene, booking: Meddler, ends_by: str) -> None:
    """In the middle of a booking whose answer never comes."""
    asked = hold(booking, "POST /booking/slots/book")
    options = [*scene.arguments(booking=booking.url), "--timeout-seconds", "5" if ends_by == "its own time" else "60"]
    process = await begun(environment_of(scene.settings), "smoke", *options)
    await asyncio.wait_for(asked.wait(), 60)
    if ends_by == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    done = await finished(process)
    assert_sentence(done, "stopped by SIGTERM" if ends_by == "SIGTERM" else "did not answer in time")
    assert "taken back: the appointment" in done.output
    assert await scene.left() == {}


async def test_what_a_killed_run_has_left_is_taken_away_when_it_is_old(scene: Scene, booking: Meddler) -> None:
    """An hour later, by the next run; what is younger may be in use and is spared."""
    for line in (OWN_SEARCH, "POST /booking/slots/book"):
        asked = hold(booking, line)
        process = await begun(environment_of(scene.settings), "smoke", *scene.arguments(booking=booking.url))
        await asyncio.wait_for(asked.wait(), 60)
        process.kill()
        await finished(process)
        booking.change = None
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    # An open slot tells its age by its id, an appointment says it.
    await scene.owner.execute(
        "UPDATE booking.slots SET id = $1 WHERE status = 'open'", uuid7(int(an_hour_ago.timestamp() * 1000))
    )
    await scene.owner.execute("UPDATE booking.appointments SET created_at = $1", an_hour_ago)
    await scene.flush_cache()

    assert (await scene.smoke()).code == 0
    left = await scene.left()
    assert left.pop("sessions") == 6  # they run out by themselves
    assert left == {"slots": 1}  # the young one, which the cancelled appointment has opened again


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        (["--auth", "auth:3000"], {}, "--auth: give an address like http://auth:3000, not 'auth:3000'."),
        (["--booking", "ftp://booking"], {}, "--booking: give an address like"),
        (["--consultation", "http://u:p@c"], {}, "--consultation: give an address like"),
        ([], {"SMOKE_DOCTOR_EMAIL": "a@example.com"}, "belong together; one of them is missing"),
        ([], {}, "JWT_SECRET must be set"),
    ],
)
async def test_what_the_operator_got_wrong_is_one_sentence(
    options: list[str], environment: dict[str, str], sentence: str
) -> None:
    """Before anything is asked of anybody."""
    valid = [part for name in NAMES for part in (f"--{name}", "http://127.0.0.1:1")]
    bare = {name: value for name, value in environment_of(make_settings()).items() if name in BARE}
    done = await finished(await begun(bare | environment, "smoke", *valid, *options))
    assert_sentence(done, sentence)


def assert_sentence(done: Finished, sentence: str) -> None:
    assert done.code == 1, done
    assert (done.errors.startswith("telemed: "), done.errors.count("\n")) == (True, 1), done.errors
    assert sentence in done.errors
