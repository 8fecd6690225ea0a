"""Processes: how one starts, refuses to start, and ends."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.platform import Platform, environment_of
from tests.support.waiting import until

from telemed.kernel.settings import Settings
from telemed.local.processes import free_port


async def test_a_request_that_has_begun_is_finished_before_the_end(platform_processes: Platform) -> None:
    """A rolling update loses nobody: SIGTERM stops new connections, not running requests."""
    (process,) = await platform_processes.serve("all")
    assert process.port is not None
    body = json.dumps({"email": "nobody@example.com", "password": "not the right one, whatever"}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
    await writer.drain()
    await asyncio.sleep(0.2)
    ended = asyncio.create_task(platform_processes.stop(process))

    async def refuses() -> bool:
        try:
            _, probe = await asyncio.open_connection("127.0.0.1", process.port)
        except OSError:
            return True
        probe.close()
        return False

    await until(refuses)
    assert not ended.done()
    writer.write(body[10:])
    await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    assert await ended == 0
    names = [event["event"] for event in process.events()]
    assert names[0] == "server.started"
    assert names[-1] == "server.stopped"


async def test_probes_move_to_the_management_port(platform_processes: Platform) -> None:
    """In the cluster nobody outside reads metrics."""
    management = free_port()
    await platform_processes.serve("all", MANAGEMENT_PORT=str(management))
    client = platform_processes.client
    assert (await client.get("/metrics")).status_code == 404
    assert (await client.get("/livez")).status_code == 404


@pytest.mark.parametrize(
    ("environment", "arguments", "sentence"),
    [
        ({"JWT_SECRET": ""}, ["serve", "all"], "telemed: JWT_SECRET must be set to at least 32 characters.\n"),
        ({"PORT": "many"}, ["serve", "all"], "telemed: PORT: "),
        ({}, ["serve", "surgery"], "telemed: There is no service 'surgery'"),
        ({"HOST": "203.0.113.7"}, ["serve", "all"], "telemed: Cannot listen on 203.0.113.7"),
    ],
    ids=["missing secret", "wrong port", "unknown service", "foreign address"],
)
def test_what_an_operator_got_wrong_is_one_sentence(
    settings: Settings, tmp_path: Path, environment: dict[str, str], arguments: list[str], sentence: str
) -> None:
    """No traceback, and an exit code that a supervisor notices."""
    done = subprocess.run(
        [sys.executable, "-m", "telemed.cli", *arguments],
        env=environment_of(settings) | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


async def test_a_port_in_use_is_one_sentence(platform_processes: Platform, settings: Settings, tmp_path: Path) -> None:
    """It names the port and what to do."""
    (process,) = await platform_processes.serve("all")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "telemed.cli", "serve", "all", "--port", str(process.port)],
        env=environment_of(settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == f"telemed: Port {process.port} on 127.0.0.1 is in use; set PORT to a free one.\n"


async def test_a_start_needs_no_database(platform_processes: Platform) -> None:
    """Pods that start while the database is away are there when it comes back; meanwhile they say 503."""
    nowhere = f"postgresql://telemed_api@127.0.0.1:{free_port()}/telemed"
    await platform_processes.serve("all", DATABASE_URL=nowhere)
    reply = await platform_processes.client.get("/booking/doctors")
    assert (reply.status_code, reply.json()["type"]) == (503, "unavailable")
    assert reply.headers["Retry-After"]
