"""The generator as an operator types it: refusals, and what is left when it is killed half-way."""

import asyncio
import json
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import asyncpg
import pytest
from tests.load.dataset.test_load import count_rows, schema
from tests.support.commands import Finished, finished
from tests.support.databases import TestDatabase
from tests.support.platform import environment_of
from tests.support.settings import make_settings
from tests.support.waiting import until

from dataset.cast import PASSWORD
from telemed.kernel.settings import Settings

DATASET = Path(__file__).parents[3] / "load-tests" / "dataset"
# Large enough for several reports before the last one, small enough for seconds.
HALF_WAY = "4e4"


async def begun(settings: Settings, *arguments: str) -> Process:
    environment = environment_of(settings)
    del environment["PYTHONPATH"]  # it finds the checkout by itself
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(DATASET), *arguments),
        env=environment,
        cwd=tempfile.gettempdir(),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(settings: Settings, *arguments: str) -> Finished:
    return await finished(await begun(settings, *arguments))


async def test_load_and_people_work_from_the_command_line(settings: Settings, owner: asyncpg.Connection) -> None:
    """What the README shows: load, then write people with tokens."""
    load = await run(settings, "load", "--slots", "1e3", "--seed", "5")
    people = await run(settings, "people", "--role", "doctor", "--count", "3")

    assert (load.code, load.errors.splitlines()[-1]) == (0, "100 %  slots"), load.errors
    assert "1,000 slots" in load.output
    assert PASSWORD in load.output
    doctors = [json.loads(line) for line in people.output.splitlines()]
    assert [doctor["email"] for doctor in doctors] == [f"doctor.{n:07}.s5@load.example.com" for n in range(3)]
    assert all(doctor["access_token"] and doctor["refresh_token"] for doctor in doctors)


async def test_once_is_content_with_what_is_there(settings: Settings, owner: asyncpg.Connection) -> None:
    """What a Job of the cluster says each time; without it, the same is refused."""
    for _ in range(2):
        load = await run(settings, "load", "--slots", "1e3", "--beside", "--once")
        assert load.code == 0, load.errors
    before = await count_rows(owner)
    again = await run(settings, "load", "--slots", "1e3", "--beside")

    assert "are there already" in load.output
    assert (again.code, "are there already" in again.errors) == (1, True)
    assert await count_rows(owner) == before
    assert before["booking.slots"] == 1000


async def test_who_is_there_is_seen_before_anybody_has_to_wait(settings: Settings, owner: asyncpg.Connection) -> None:
    """A load of many takes indexes away first, for which it locks the tables; not where it has nothing to do."""
    await run(settings, "load", "--slots", "1e3", "--beside", "--once")

    async with owner.transaction():  # somebody who is at work
        await owner.execute("LOCK TABLE booking.slots IN ROW EXCLUSIVE MODE")
        again = await run(settings, "load", "--slots", "6e4", "--beside", "--once")

    assert (again.code, "are there already" in again.output) == (0, True), again.errors


async def test_the_platform_may_be_told_by_a_file(
    settings: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """As `make load SECRET=…` takes one; what the environment says does not count then."""
    secret = tmp_path / "platform.env"
    secret.write_text("".join(f"{name}={value}\n" for name, value in environment_of(settings).items()))
    elsewhere = settings.model_copy(update={"owner_database_url": None, "database_url": None})

    load = await run(elsewhere, "load", "--slots", "1e3", "--secret", str(secret))
    missing = await run(settings, "people", "--secret", str(tmp_path / "none"))

    assert load.code == 0, load.errors
    assert (missing.code, "cannot be read" in missing.errors) == (1, True)
    assert (await count_rows(owner))["booking.slots"] == 1000


@pytest.mark.parametrize("arguments", [("--slots", "12"), ("--slots", "lots"), ("--slots", "1e3", "--seed", "-1"), ()])
async def test_what_cannot_be_made_is_refused_as_misuse(
    arguments: tuple[str, ...], settings: Settings, owner: asyncpg.Connection
) -> None:
    """Exit code 2, a sentence, and an untouched database."""
    answer = await run(settings, "load", *arguments)

    assert answer.code == 2
    assert "--s" in answer.errors
    assert "Traceback" not in answer.errors
    assert set((await count_rows(owner)).values()) == {0}


async def test_a_production_platform_is_refused(
    database: TestDatabase, redis_url: str, owner: asyncpg.Connection
) -> None:
    """The people's password is public."""
    answer = await run(make_settings(database, redis_url, environment="production"), "load", "--slots", "1e3")

    assert (answer.code, "production" in answer.errors) == (1, True), answer.errors
    assert set((await count_rows(owner)).values()) == {0}


@pytest.mark.parametrize("arguments", [("load", "--slots", "1e3"), ("people",)])
async def test_a_database_that_does_not_answer_is_one_sentence(
    arguments: tuple[str, ...], database: TestDatabase, redis_url: str
) -> None:
    """No traceback for a mistyped address."""
    settings = make_settings(database, redis_url, owner_database_url="postgresql://nobody:wrong@127.0.0.1:9/none")

    answer = await run(settings, *arguments)

    assert answer.code == 1
    assert answer.errors.splitlines() == [
        "dataset: The database cannot be reached as its owner; is OWNER_DATABASE_URL right?"
    ]


async def test_people_of_a_database_without_accounts_is_one_sentence(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    """Nobody has migrated it."""
    await owner.execute("DROP SCHEMA auth CASCADE")

    answer = await run(settings, "people")

    assert answer.code == 1
    assert answer.errors == "dataset: The database has no accounts; run `telemed migrate` first.\n"


@pytest.mark.parametrize("arguments", [("--count", "-1"), ("--skip", "-1"), ("--count", "1.5")])
async def test_fewer_people_than_none_is_misuse(arguments: tuple[str, str], settings: Settings) -> None:
    """PostgreSQL would refuse it with a traceback."""
    answer = await run(settings, "people", *arguments)

    assert answer.code == 2
    assert f"argument {arguments[0]}: must be a whole number" in answer.errors


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_killed_half_way_it_leaves_nothing_behind(
    number: signal.Signals, settings: Settings, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """All of it or none, however it ends; and the next load finds a database that it can use."""
    before = await schema(owner)
    process = await begun(settings, "load", "--slots", HALF_WAY)
    assert process.stderr is not None
    assert b"slots" in await process.stderr.readline()

    process.send_signal(number)
    errors = (await process.communicate())[1].decode()

    assert process.returncode == (-number if number == signal.SIGKILL else 1)
    assert number == signal.SIGKILL or errors.endswith("Stopped; the database is as it was before.\n"), errors
    await until(lambda: _alone(owner, database))
    assert set((await count_rows(owner)).values()) == {0}
    assert await schema(owner) == before
    assert (await run(settings, "load", "--slots", "1e3")).code == 0


async def _alone(owner: asyncpg.Connection, database: TestDatabase) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    return bool(await owner.fetchval(query, database.name) == 0)
