"""Starts the floors that are processes of their own: on a core, watched, and surely gone afterwards."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.results import BenchProblem
from bench.stage import Servers, served_core, starting_on
from telemed.local.processes import Program, Running, free_port, is_answered

FLOORS = Path(__file__).parent / "floors"
_READY_WITHIN_SECONDS = 20.0


@asynccontextmanager
async def floor_process(up: Servers, script: str, *arguments: object) -> AsyncIterator[tuple[Running, int]]:
    """Lend a floor's process and its port."""
    port = free_port()
    name = f"{Path(script).stem}-{port}"
    program = Program(
        name,
        [sys.executable, FLOORS / script, str(port), *(str(argument) for argument in arguments)],
        log=up.folder / f"{name}.log",
        pid_file=up.folder / f"{name}.pid",
        environment={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        folder=up.folder,
    )
    with starting_on(served_core()):
        running = program.start(up.guard)
    try:
        for _ in range(int(_READY_WITHIN_SECONDS / 0.02)):
            if is_answered(port):
                break
            await asyncio.sleep(0.02)
        else:
            raise BenchProblem(f"{script} did not start: {running.last_words()}")
        yield running, port
    finally:
        await asyncio.to_thread(running.stop)
