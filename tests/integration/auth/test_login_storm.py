"""A storm of logins on a real process."""

import asyncio
import sys
import time
from pathlib import Path

import pytest
from tests.integration.auth.conftest import PASSWORD, new_email
from tests.support.platform import Platform


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells niceness on Linux")
async def test_a_storm_of_logins_slows_nothing_else(platform_processes: Platform) -> None:
    """Hashing runs on threads of the lowest priority, what is too much is shed, and the event loop stays free.

    The bound on reads is generous, because the machine is busy with other tests: on the event loop
    one hash alone would take nearly as long, and the reads would wait for many.
    """
    (process,) = await platform_processes.serve("auth", BCRYPT_COST="10", BCRYPT_QUEUE="4")
    client = platform_processes.client

    async def guess() -> int:
        body = {"email": new_email(), "password": PASSWORD}
        return (await client.post("/auth/login", json=body)).status_code

    storm = [asyncio.create_task(guess()) for _ in range(30)]
    reads = []
    while not all(task.done() for task in storm):
        started = time.perf_counter()
        assert (await client.get("/auth/jwks.json")).status_code == 200
        reads.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
    statuses = await asyncio.gather(*storm)
    assert set(statuses) <= {401, 503}
    assert statuses.count(503) >= 15
    assert statuses.count(401) >= 5
    assert sorted(reads)[len(reads) // 2] < 0.1
    assert hashing_niceness(process.running.process.pid) == [19]
    assert main_niceness(process.running.process.pid) < 19


def hashing_niceness(pid: int) -> list[int]:
    """Give the niceness of every thread whose priority is not the process's own."""
    threads = {int(path.name): _niceness(path) for path in Path(f"/proc/{pid}/task").iterdir()}
    return [nice for tid, nice in threads.items() if nice != threads[pid]]


def main_niceness(pid: int) -> int:
    return _niceness(Path(f"/proc/{pid}/task/{pid}"))


def _niceness(task: Path) -> int:
    return int((task / "stat").read_text().rpartition(")")[2].split()[16])  # field 19
