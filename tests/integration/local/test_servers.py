"""The servers that tests borrow: real, apart from each other, and gone afterwards."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import servers
from tests.integration.local.platform_process import processes_of

from telemed.local.postgres import start_postgres
from telemed.local.processes import wait_until
from telemed.local.valkey import command, start_valkey

STARTER = """
import sys, time
from tests import servers
with servers.own_valkey() as valkey:
    print(valkey.running.pid_file.parent, flush=True)
    time.sleep(600)
"""


def test_a_killed_test_run_leaves_neither_server_nor_folder() -> None:
    """The guard cleans up after a process that had no time to do it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdout is not None
    with starter.stdout as stdout:
        folder = Path(stdout.readline().strip())
    assert processes_of(folder)

    starter.kill()
    starter.wait()

    assert wait_until(lambda: not processes_of(folder), within_seconds=20)
    assert wait_until(lambda: not folder.exists(), within_seconds=20)


def test_a_frozen_cache_keeps_its_connections_but_does_not_answer() -> None:
    """The failure that only a time-out notices."""
    with servers.own_valkey() as valkey:
        valkey.freeze()
        with pytest.raises(TimeoutError):
            command(valkey.port, valkey.password, "PING")

        valkey.thaw()

        assert command(valkey.port, valkey.password, "PING") == "PONG"


def test_a_flushed_cache_is_empty() -> None:
    """FLUSHALL reaches every key."""
    with servers.own_valkey() as valkey:
        command(valkey.port, valkey.password, "SET", "key", "value")

        valkey.flush()

        assert command(valkey.port, valkey.password, "DBSIZE") == "0"


def test_a_cache_comes_back_at_its_old_address() -> None:
    """A client that knew it before the outage finds it after, empty."""
    with servers.server_folder("telemed-valkey-") as (folder, guard):
        before = start_valkey(folder / "valkey", guard)
        command(before.port, before.password, "SET", "key", "value")
        before.stop()
        with pytest.raises(ConnectionRefusedError):
            command(before.port, before.password, "PING")

        after = start_valkey(folder / "valkey", guard, password=before.password)

        assert after.url == before.url
        assert command(after.port, after.password, "DBSIZE") == "0"


def test_a_cache_refuses_strangers() -> None:
    """Other users of the machine reach the port, but have no password."""
    with servers.own_valkey() as valkey, pytest.raises(ConnectionError, match="WRONGPASS"):
        command(valkey.port, "wrong", "PING")


def test_a_killed_database_keeps_what_it_acknowledged() -> None:
    """A server of one's own is durable: SIGKILL loses nothing that was committed."""
    with servers.server_folder("telemed-postgres-") as (folder, guard):
        first = start_postgres(folder / "postgres", guard)
        shared = servers.TestServers("127.0.0.1", first.port, first.password, {}, "")
        asyncio.run(servers.prepare_roles(first.dsn(), dict.fromkeys(servers.ALL_ROLES, "not-a-secret")))
        shared.create_database("kept")
        first.running.process.send_signal(signal.SIGKILL)
        first.stop()

        second = start_postgres(folder / "postgres", guard)

        assert second.dsn() == first.dsn()
        shared.create_database("copied", template="kept")
