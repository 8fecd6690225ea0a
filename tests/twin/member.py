"""One process of the twin: it keeps its name and its address, whatever happens to it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from telemed.local.processes import Running

Kind = Literal["postgres", "pooler", "redis", "gateway", "service", "worker"]
READY_WITHIN_SECONDS = 60.0


@dataclass(eq=False)
class Member:
    """A process that can be broken and brought back at the same port."""

    name: str
    kind: Kind
    port: int | None
    launch: Callable[[], Running]  # blocks until the process exists
    is_ready: Callable[[], Awaitable[bool]]
    probes: int | None = None  # the port of its probes and metrics, where it has one
    running: Running | None = field(default=None, init=False)
    # Cleared by `stop`: the supervisor restarts only what is meant to run.
    is_wanted: bool = field(default=True, init=False)
    starts: int = field(default=0, init=False)
    frozen: bool = field(default=False, init=False)

    @property
    def address(self) -> str:
        """Host and port; empty for a worker, which listens nowhere but on its probes."""
        return f"127.0.0.1:{self.port}" if self.port else ""

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self.running.pid if self.running is not None and not self.running.has_ended() else None

    @property
    def is_running(self) -> bool:
        """Tell whether its process is there, frozen or not."""
        return self.pid is not None

    @property
    def log(self) -> Path:
        """What the process has written since its last start; the run before is beside it, with `.old`."""
        assert self.running is not None, f"{self.name} was never started"
        return self.running.log

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            AssertionError: it ended, or did not become ready; with the end of its log.
        """
        self.is_wanted = True
        self.frozen = False
        if self.running is not None:
            await asyncio.to_thread(self.running.stop)  # it has ended; its number must not stay with the guard
        self.running = await asyncio.to_thread(self.launch)
        self.starts += 1
        await self.ready()

    async def ready(self, within_seconds: float = READY_WITHIN_SECONDS) -> None:
        """Wait until it says that it is ready."""
        deadline = time.monotonic() + within_seconds
        while not await self.is_ready():
            assert self.running is not None
            ended = self.running.has_ended()
            assert not ended, f"{self.name} ended:\n{self.running.last_words()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.running.last_words()}"
            await asyncio.sleep(0.05)

    async def stop(self, within_seconds: float = 40.0) -> None:
        """End it in order, frozen or not, and let the supervisor leave it so."""
        self.is_wanted = False
        if self.running is not None:
            self.thaw()
            await asyncio.to_thread(self.running.stop, within_seconds)

    async def restart(self) -> None:
        """End it in order and start it again at the same port."""
        await self.stop()
        await self.start()

    def terminate(self) -> None:
        """Send the signal with which it is asked to end, and do not wait."""
        self._send(self.running.stop_signal if self.running else signal.SIGTERM, whole_family=False)

    async def kill(self) -> None:
        """SIGKILL it with all its children, as a lost machine does; returns when they are gone."""
        self._send(signal.SIGKILL)
        if self.running is not None:
            await asyncio.to_thread(self.running.process.wait, 10)

    def freeze(self) -> None:
        """SIGSTOP it with all its children: connections stay open, nobody answers."""
        self.frozen = True
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`, as whatever it believed to be."""
        self.frozen = False
        self._send(signal.SIGCONT)

    async def ended(self, within_seconds: float = 40.0) -> int:
        """Wait for its end and give the exit code."""
        assert self.running is not None
        return await asyncio.to_thread(self.running.process.wait, within_seconds)

    def _send(self, number: signal.Signals, *, whole_family: bool = True) -> None:
        if self.pid is not None:
            send(self.pid, number, whole_family=whole_family)


def send(pid: int, number: signal.Signals, *, whole_family: bool = True) -> None:
    """Send the signal to the process and, parents first, to all that descend from it.

    PostgreSQL puts every backend into a session of its own, so no process group holds them together. Looked for
    again until nobody new is found: a parent that is still running may just have forked.
    """
    if number == signal.SIGKILL:
        _kill(pid)
        return
    for _ in _each(pid, number, whole_family=whole_family):
        pass


def _kill(pid: int) -> None:
    """Stop the whole family first: whoever is dead has no children, and one that runs could have more."""
    for member in list(_each(pid, signal.SIGSTOP, whole_family=True)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def _each(pid: int, number: signal.Signals, *, whole_family: bool) -> Iterator[int]:
    reached: set[int] = set()
    while True:
        family = [pid, *(_descendants(pid) if whole_family else ())]
        new = [member for member in family if member not in reached]
        if not new:
            return
        for member in new:
            reached.add(member)
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)
            yield member


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found


def _parents() -> list[tuple[int, int]]:
    """Give every process of this machine with its parent."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(["ps", "-axo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in listing.splitlines())]
    pairs = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name, which may hold anything, come the state and the parent.
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                pairs.append((int(folder.name), int(parent)))
    return pairs
