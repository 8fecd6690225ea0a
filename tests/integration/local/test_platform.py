"""`make run`: from nothing to an address that answers, and back, on real servers."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from tests.integration.local.platform_process import PlatformProcess, processes_of

from telemed.local.processes import wait_until

Start = Callable[..., PlatformProcess]
Leftovers = Callable[[], dict[int, str]]


def platform_values(home: Path) -> dict[str, str]:
    lines = (home / "platform.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def query(home: Path, variable: str, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(platform_values(home)[variable], timeout=10)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_ctrl_c_leaves_no_process(start: Start, home: Path, leftovers: Leftovers) -> None:
    """Ctrl-C stops services and servers, and counts as success."""
    platform = start()
    platform.wait_for("Ctrl-C")
    assert len(processes_of(home)) >= 4  # PostgreSQL, Valkey, two services; and the driver itself

    assert platform.stop(signal.SIGINT) == 0

    assert leftovers() == {}
    assert "Stopped." in platform.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_and_a_closed_terminal_stop_everything(
    start: Start, leftovers: Leftovers, number: signal.Signals
) -> None:
    """What a service manager or a closed terminal sends is as good as Ctrl-C."""
    platform = start()
    platform.wait_for("Ctrl-C")

    assert platform.stop(number) == 0

    assert leftovers() == {}


def test_ctrl_c_during_the_seed_stops_it(start: Start, leftovers: Leftovers) -> None:
    """A developer who changes their mind in the longest step does not wait for its end."""
    platform = start(seed="import time; print('seeding', flush=True); time.sleep(600)")
    platform.wait_for("seeding")

    assert platform.stop() == 0

    assert leftovers() == {}


def test_a_second_start_continues_with_the_same_data_and_secrets(start: Start, home: Path) -> None:
    """Nothing is made twice: data, passwords, keys and addresses are those of the first start."""
    first = start()
    first.wait_for("Ctrl-C")
    query(home, "OWNER_DATABASE_URL", "CREATE TABLE kept AS SELECT 42 AS answer")
    before = platform_values(home)
    first.stop()

    second = start(port=first.port)
    second.wait_for("Ctrl-C")

    assert query(home, "OWNER_DATABASE_URL", "SELECT answer FROM kept") == 42
    assert platform_values(home) == before
    assert "Demo data: there already" in second.output


def test_secrets_are_for_their_owner_only(start: Start, home: Path) -> None:
    """No other user of the machine can read an address with a password."""
    start().wait_for("Ctrl-C")

    for name in ("platform.env", "secrets.json", "postgres/superuser.password", "valkey/valkey.conf"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name


def test_a_second_platform_in_the_same_folder_is_refused(start: Start, home: Path) -> None:
    """Two supervisors never share a data folder; the first one is not disturbed."""
    first = start()
    first.wait_for("Ctrl-C")

    second = start()

    assert second.end() == 1
    assert f"already running from {home}" in second.output
    assert query(home, "DATABASE_URL", "SELECT 1") == 1


def test_a_port_in_use_is_named(start: Start, leftovers: Leftovers) -> None:
    """The sentence says which port, and how to choose another; nothing was started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        platform = start(port=port)

        assert platform.end() == 1
        assert platform.output.strip() == (
            f"telemed: Port {port} is in use by another program: choose another, `make run PORT={port + 1}`."
        )
        assert leftovers() == {}


def test_data_of_another_version_are_left_alone(start: Start, home: Path, leftovers: Leftovers) -> None:
    """Data of PostgreSQL 17 are neither opened nor deleted; the sentence says what to do."""
    platform = start()
    platform.wait_for("Ctrl-C")
    platform.stop()
    (home / "postgres" / "data" / "PG_VERSION").write_text("17\n")

    other = start()

    assert other.end() == 1
    assert "were made by PostgreSQL 17 and cannot be opened by 18" in other.output
    assert "Traceback" not in other.output
    assert (home / "postgres" / "data" / "base").exists()
    assert leftovers() == {}


def test_a_newer_schema_is_told_in_one_sentence(start: Start, leftovers: Leftovers) -> None:
    """A database of a later checkout cannot be served by an earlier one."""
    alembic = "import sys; sys.exit(\"FAILED: Can't locate revision identified by 'f00d'\")"

    platform = start(migrate=alembic)

    assert platform.end() == 1
    assert "was made by a newer Telemed" in platform.output
    assert leftovers() == {}


def test_a_service_that_dies_ends_the_platform_with_its_last_words(start: Start, leftovers: Leftovers) -> None:
    """Which one, why, and exit code 1; the rest does not keep running without it."""
    platform = start(work="import sys; sys.exit('the worker lost its way')")

    assert platform.end() == 1

    assert "worker ended by itself (exit code 1)" in platform.output
    assert "the worker lost its way" in platform.output
    assert leftovers() == {}


def test_a_database_that_is_killed_ends_the_platform(start: Start, home: Path, leftovers: Leftovers) -> None:
    """The servers are watched as closely as the services."""
    platform = start()
    platform.wait_for("Ctrl-C")

    os.kill(int((home / "postgres" / "postgres.pid").read_text()), signal.SIGKILL)

    assert platform.end() == 1
    assert "PostgreSQL ended by itself (SIGKILL)" in platform.output
    assert leftovers() == {}


def test_a_killed_supervisor_takes_everything_with_it(start: Start, home: Path, leftovers: Leftovers) -> None:
    """SIGKILL leaves no time for orders; the guard stops what was running, and the next start goes on."""
    platform = start()
    platform.wait_for("Ctrl-C")
    query(home, "OWNER_DATABASE_URL", "CREATE TABLE kept AS SELECT 42 AS answer")

    platform.stop(signal.SIGKILL)

    assert leftovers() == {}
    start().wait_for("Ctrl-C")
    assert query(home, "OWNER_DATABASE_URL", "SELECT answer FROM kept") == 42


def test_servers_that_outlived_supervisor_and_guard_are_replaced(start: Start, home: Path) -> None:
    """Even with both gone the next start finds its old servers, stops them and loses nothing."""
    platform = start()
    platform.wait_for("Ctrl-C")
    query(home, "OWNER_DATABASE_URL", "CREATE TABLE kept AS SELECT 42 AS answer")
    orphans = {pid for pid in processes_of(home) if pid != platform.process.pid}
    os.kill(guard_of(platform), signal.SIGKILL)
    platform.stop(signal.SIGKILL)
    assert orphans <= processes_of(home).keys()

    start().wait_for("Ctrl-C")

    assert wait_until(lambda: not orphans & processes_of(home).keys(), within_seconds=20)
    assert query(home, "OWNER_DATABASE_URL", "SELECT answer FROM kept") == 42


def guard_of(platform: PlatformProcess) -> int:
    listing = subprocess.run(["ps", "-wwaxo", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        pid, parent, command = line.split(None, 2)
        if int(parent) == platform.process.pid and "guard.py" in command:
            return int(pid)
    raise AssertionError("the platform has no guard")


def test_a_full_disk_is_told_in_one_sentence(start: Start, leftovers: Leftovers) -> None:
    """Whoever meets it first, server or command, the developer reads what to do about it."""
    full = "import sys; sys.exit('asyncpg.exceptions.DiskFullError: could not extend file: No space left on device')"

    platform = start(seed=full)

    assert platform.end() == 1
    assert "is full: free some space" in platform.output
    assert leftovers() == {}


def test_replicas_of_another_database_are_not_read_from(
    home: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has them in their environment would find another platform's slots."""
    monkeypatch.setenv("REPLICA_DATABASE_URLS", "postgresql://somebody@db.example/telemed")
    say = "import os, sys; sys.exit('reads from ' + repr(os.environ['REPLICA_DATABASE_URLS']))"

    platform = start(serve=say)
    platform.wait_for("reads from")

    assert "reads from ''" in platform.output
    assert platform_values(home)["REPLICA_DATABASE_URLS"] == ""


def test_an_own_database_is_used_and_never_seeded(home: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL wins over the embedded server, and no demo account with a known password gets into it."""
    monkeypatch.setattr("tests.integration.local.platform_process.HIDDEN", ("PORT",))
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@db.example/telemed")
    monkeypatch.setenv("REDIS_URL", "redis://cache.example/0")

    platform = start(seed="raise SystemExit('must not run')")
    platform.wait_for("Ctrl-C")

    assert platform_values(home)["DATABASE_URL"] == "postgresql://somebody@db.example/telemed"
    assert not (home / "postgres").exists()
    assert not (home / "valkey").exists()


def test_the_secret_file_is_json_that_people_can_read(start: Start, home: Path) -> None:
    """Each secret is random and of its own."""
    start().wait_for("Ctrl-C")

    kept = json.loads((home / "secrets.json").read_text())

    assert len(set(kept.values())) == len(kept) >= 7
    assert all(len(value) >= 32 for value in kept.values())
