"""How long a process takes to answer for the first time, and its memory, against the tutorial's FastAPI."""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from tests.support.platform import environment_of

from bench import wire
from bench.floor_process import FLOORS
from bench.results import BenchProblem, Result
from bench.scene import Bench
from bench.stage import Ground, served_core, starting_on
from telemed.local.processes import Program, Running, free_port

_ANSWERS_WITHIN_SECONDS = 30.0
# Ours, as the issue names none: so that what is imported and kept at start does not grow unseen.
START_AT_MOST, MEMORY_AT_MOST = 4.0, 3.0
_WORKED = 500  # requests before the memory is read: what a process needs to work, not to wait


async def processes(bench: Bench) -> list[Result]:
    """Measure the booking service and the floor, in turn."""
    lent = await bench.small()
    starts: dict[str, list[float]] = {"floor": [], "value": []}
    memory: dict[str, list[float]] = {"floor": [], "value": []}
    subjects: tuple[tuple[str, list[str], str], ...] = (
        ("floor", [sys.executable, str(FLOORS / "stock.py")], "/readyz"),
        ("value", [sys.executable, "-m", "telemed.cli", "serve", "booking", "--port"], "/booking/slots/search"),
    )
    for _ in range(bench.size.rounds + 1):
        for name, command, path in subjects:
            seconds, megabytes = await _lifetime(lent, name, command, path)
            starts[name].append(seconds)
            memory[name].append(megabytes)
    floor_is = "FastAPI with one route under uvicorn"
    return [
        Result(
            "start of a booking process", floor_is, "s", "at most", START_AT_MOST,
            # The first of each reads its files from disk.
            floors=tuple(starts["floor"][1:]), values=tuple(starts["value"][1:]),
            notes={"until": "/readyz answers 200"},
        ),
        Result(
            "memory of a booking process", floor_is, "MB", "at most", MEMORY_AT_MOST,
            floors=tuple(memory["floor"][1:]), values=tuple(memory["value"][1:]),
            notes={"of": "resident memory (VmRSS)", "after_requests": _WORKED},
        ),
    ]  # fmt: skip


async def _lifetime(lent: Ground, name: str, command: list[str], path: str) -> tuple[float, float]:
    port = free_port()
    program = Program(
        f"{name}-{port}",
        [*command, str(port)],
        log=lent.servers.folder / f"{name}-{port}.log",
        pid_file=lent.servers.folder / f"{name}-{port}.pid",
        environment=environment_of(lent.settings),
        folder=lent.servers.folder,
    )
    begun = time.perf_counter()
    with starting_on(served_core()):
        running = program.start(lent.servers.guard)
    try:
        await _ready(running, port)
        seconds = time.perf_counter() - begun
        requests = itertools.islice(itertools.repeat(wire.get(path)), _WORKED)
        (await wire.closed(port, requests, connections=8)).require(200)
        return seconds, _resident(running.pid)
    finally:
        await asyncio.to_thread(running.stop)


async def _ready(running: Running, port: int) -> None:
    deadline = time.perf_counter() + _ANSWERS_WITHIN_SECONDS
    while time.perf_counter() < deadline:
        try:
            tally = await wire.closed(port, iter([wire.get("/readyz")]), connections=1)
        except (OSError, BenchProblem):
            tally = None
        if tally is not None and tally.statuses[200]:
            return
        if running.has_ended():
            break
        await asyncio.sleep(0.005)
    raise BenchProblem(f"{running.name} did not become ready: {running.last_words()}")


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
