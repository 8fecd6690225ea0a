"""The queue in front of the hashing threads."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import Gauge

from telemed.auth.passwords.threads import NICENESS, HashingThreads
from telemed.kernel.problems import Overloaded
from telemed.kernel.telemetry.metrics import Metrics


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("waiting", "Waiting.", registry=None)


@pytest.fixture
async def threads(gauge: Gauge) -> AsyncIterator[HashingThreads]:
    made = HashingThreads(threads=1, queue=2, queue_length=gauge, duration=Metrics().password_hash)
    yield made
    await made.close()


def length(gauge: Gauge) -> float:
    (sample,) = next(iter(gauge.collect())).samples
    return sample.value


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells niceness on Linux")
async def test_the_threads_have_the_lowest_priority_and_nobody_else_has(threads: HashingThreads) -> None:
    """What hashes gets only what nobody else wants; the event loop's thread is as it was."""

    def niceness() -> int:
        stat = Path(f"/proc/self/task/{threading.get_native_id()}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[16])  # field 19

    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert await threads.run(niceness) == NICENESS
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_what_would_wait_too_long_is_refused_with_the_time_to_wait(threads: HashingThreads, gauge: Gauge) -> None:
    """One runs and two wait; the fourth is told when there should be room, by what hashes take here."""
    await threads.run(time.sleep, 0.6)
    with ExitStack() as places:
        for _ in range(3):
            places.enter_context(threads.place())
        assert length(gauge) == 2
        with pytest.raises(Overloaded) as refused, threads.place():
            pass
    assert refused.value.retry_after is not None
    assert 2 <= refused.value.retry_after.total_seconds() <= 3  # three of 0.6 seconds
    assert length(gauge) == 0
    with threads.place():
        pass


async def test_whoever_goes_away_while_waiting_frees_their_place(threads: HashingThreads, gauge: Gauge) -> None:
    """A cancelled caller neither holds a place nor gets a thread."""
    release, started = threading.Event(), threading.Event()
    ran: list[str] = []

    async def caller(name: str) -> None:
        def work() -> None:
            ran.append(name)
            started.set()
            release.wait(10)

        with threads.place():
            await threads.run(work)

    first = asyncio.create_task(caller("first"))
    others = [asyncio.create_task(caller(f"waiting {number}")) for number in range(2)]
    await asyncio.to_thread(started.wait, 10)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert length(gauge) == 0
    release.set()
    await first
    assert await threads.run(lambda: ran) == ["first"]


async def test_a_thread_stays_taken_while_a_cancelled_hash_still_runs(threads: HashingThreads) -> None:
    """Cancelling the caller does not stop the thread; the next one waits for it instead of joining it."""
    release, started = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        release.wait(10)

    running = asyncio.create_task(threads.run(slow))
    await asyncio.to_thread(started.wait, 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    following = asyncio.create_task(threads.run(lambda: "done"))
    done, _ = await asyncio.wait({following}, timeout=0.1)
    assert not done
    release.set()
    assert await following == "done"


async def test_a_failing_function_frees_its_thread(threads: HashingThreads) -> None:
    """What is raised reaches the caller, and the next one is served."""

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await threads.run(fail)
    assert await threads.run(lambda: "done") == "done"
