"""The servers that tests borrow: real, apart from each other, and gone afterwards."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import servers
from tests.integration.local.platform_process import processes_of

from telemed.local.guard import family_of, send_to
from telemed.local.postgres import start_postgres
from telemed.local.processes import stop_leftover, wait_until
from telemed.local.valkey import command, start_valkey

STARTER = """
import sys, time
from tests import servers
with servers.own_{kind}() as server:
    print(server.running.pid, server.running.pid_file.parent, flush=True)
    time.sleep(600)
"""
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [sys.executable, "-c", f"import subprocess; subprocess.run({SLEEPER!r})"]


@contextmanager
def killed_run(kind: str) -> Iterator[tuple[int, Path]]:
    """Give the server and the folder of a run that is killed when the context ends."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", STARTER.format(kind=kind)]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdout is not None
    with starter.stdout as stdout:
        pid, _, folder = stdout.readline().strip().partition(" ")
    try:
        yield int(pid), Path(folder)
    finally:
        starter.kill()
        starter.wait()


def freeze(pid: int) -> dict[int, str]:
    """Freeze a process and its children, as the drills freeze a whole server; give the children."""
    os.kill(pid, signal.SIGSTOP)
    family = family_of(pid)
    assert family
    send_to(family, signal.SIGSTOP)
    return family


def are_gone(family: dict[int, str]) -> bool:
    """Tell whether none of them is left after a while; leave none."""
    try:
        return wait_until(lambda: not [pid for pid in family if is_alive(pid)], within_seconds=20)
    finally:
        send_to(family, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Tell whether it is there, and more than an entry that nobody has collected."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_killed_test_run_leaves_neither_server_nor_folder() -> None:
    """The guard cleans up after a process that had no time to do it."""
    with killed_run("valkey") as (_, folder):
        assert processes_of(folder)

    assert wait_until(lambda: not processes_of(folder), within_seconds=20)
    assert wait_until(lambda: not folder.exists(), within_seconds=20)


def test_a_run_that_is_killed_while_a_whole_server_is_frozen_leaves_nothing() -> None:
    """The server's children have sessions of their own and would stay for ever: frozen, they miss its end."""
    with killed_run("postgres") as (pid, folder):
        family = freeze(pid)

    assert are_gone(family)
    assert not is_alive(pid)
    assert wait_until(lambda: not folder.exists(), within_seconds=20)


def test_a_server_that_is_frozen_as_a_whole_stops_in_order() -> None:
    """Its children are woken with it: it need not be killed, and none of them is left."""
    with servers.own_postgres() as server:
        family = freeze(server.running.pid)

        server.running.stop(within_seconds=10)

        assert (server.running.process.returncode, are_gone(family)) == (0, True)


def test_the_children_of_a_frozen_leftover_go_with_it(tmp_path: Path) -> None:
    """The next start of the platform would find them in its data folder otherwise."""
    parent = subprocess.Popen(PARENT)
    assert wait_until(lambda: bool(family_of(parent.pid)), within_seconds=10)
    family = freeze(parent.pid)
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{parent.pid}\n")

    assert stop_leftover(pid_file, ["time.sleep(600)"], signal.SIGTERM)

    parent.wait()
    assert are_gone(family)


def test_a_stranger_with_the_number_of_one_of_ours_is_left_alone() -> None:
    """A number alone says nothing: who has it may have been started since."""
    with subprocess.Popen(SLEEPER) as stranger:
        ours = family_of(os.getpid())[stranger.pid]

        send_to({stranger.pid: f"not {ours}"}, signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.2)

        send_to({stranger.pid: ours}, signal.SIGKILL)
        assert stranger.wait(10) == -signal.SIGKILL


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
