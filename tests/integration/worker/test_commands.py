"""`telemed outbox`: parked events are listed and requeued."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from tests.integration.worker.conftest import Outbox
from tests.support.platform import environment_of
from typer.testing import CliRunner, Result

from telemed.kernel.ids import uuid7
from telemed.kernel.settings import Settings
from telemed.worker.commands import outbox_app

Telemed = Callable[..., Awaitable[Result]]


@pytest.fixture
def telemed(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Telemed:
    """Runs `telemed outbox …`."""
    monkeypatch.chdir(tmp_path)
    environment = {name: value for name, value in environment_of(settings).items() if name.endswith(("_URL", "SECRET"))}

    async def run(*arguments: str, **more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, outbox_app, list(arguments), env=environment | more)

    return run


async def test_parked_events_are_listed(outbox: Outbox, owner: asyncpg.Connection, telemed: Telemed) -> None:
    """Id, type, age, attempts and last error; nothing of the payload."""
    event_id, _ = await outbox.put("thing.made", "thing.made")
    await owner.execute(
        "UPDATE platform.outbox SET parked_at = now(), attempts = 12, last_error = 's: ValueError' WHERE id = $1",
        event_id,
    )
    result = await telemed("parked")
    line, *_ = result.stdout.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"{event_id}  thing.made  ")
    assert line.endswith("12 attempts  s: ValueError")


async def test_no_parked_events_is_said_with_exit_code_0(telemed: Telemed) -> None:
    """So that a monitor can ask."""
    result = await telemed("parked")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 parked\n")


@pytest.mark.parametrize("every", [False, True])
async def test_a_parked_event_is_requeued(
    outbox: Outbox, owner: asyncpg.Connection, telemed: Telemed, every: bool
) -> None:
    """One of them, or all."""
    ids = await outbox.put("thing.made", "thing.made")
    await owner.execute("UPDATE platform.outbox SET parked_at = now(), attempts = 12")
    result = await telemed("requeue", "--all" if every else str(ids[0]))
    assert (result.exit_code, result.stdout) == (0, f"{2 if every else 1} requeued\n")
    rows = [await outbox.row(event_id) for event_id in ids]
    assert [(row["parked_at"] is None, row["attempts"]) for row in rows] == [
        (True, 0),
        (True, 0) if every else (False, 12),
    ]


async def test_an_event_that_is_not_parked_is_not_requeued(outbox: Outbox, telemed: Telemed) -> None:
    """Exit code 1, and a sentence."""
    (event_id,) = await outbox.put("thing.made")
    for one in (event_id, uuid7()):
        result = await telemed("requeue", str(one))
        assert (result.exit_code, result.stderr) == (1, f"No event {one} is parked.\n")


@pytest.mark.parametrize("arguments", [(), ("--all", str(uuid7())), ("no-id",)])
async def test_a_command_that_is_not_clear_is_refused(telemed: Telemed, arguments: tuple[str, ...]) -> None:
    """Exit code 2, nothing done."""
    assert (await telemed("requeue", *arguments)).exit_code == 2


async def test_a_database_that_does_not_answer_ends_in_one_sentence(telemed: Telemed) -> None:
    """Exit code 2."""
    result = await telemed("parked", WORKER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


async def test_a_database_that_refuses_is_not_a_parked_event(telemed: Telemed, settings: Settings) -> None:
    """Exit code 2 and a sentence: a monitor must not take it for 1, "there are some"."""
    # The services may put events into the outbox, and not look at them.
    refused = settings.services_database
    for arguments in (("parked",), ("requeue", "--all")):
        result = await telemed(*arguments, WORKER_DATABASE_URL=refused)
        assert (result.exit_code, result.stderr) == (
            2,
            "The database cannot be used: it answers with SQLSTATE 42501.\n",
        )
