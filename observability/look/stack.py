"""Starts the platform, Prometheus and Alertmanager as processes of this machine, and surely stops them."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from observability.look.configuration import JOBS, ROOT, write_configurations, write_targets
from observability.look.receiver import Calls, receiving

from telemed.local import roles
from telemed.local.postgres import SUPERUSER
from telemed.local.processes import Guard, Program, Running, free_port

FAULTS = Path(__file__).parent / "faults"
_READY_WITHIN_SECONDS = 120.0
_APIS = JOBS["telemed-api"]
# A server or a setting of the developer's own must not be what is broken here.
_OWN = ("DATABASE_URL", "OWNER_DATABASE_URL", "AUDITOR_DATABASE_URL", "WORKER_DATABASE_URL", "POSTGRES_HOST")
_NOT_PASSED_ON = frozenset({*_OWN, "REDIS_URL", "REDIS_HOST", "PORT", "MANAGEMENT_PORT", "TRACE_DIRECTORY"})


class Missing(Exception):
    """A program is not installed, or something did not start; the message is the one sentence to show."""


@dataclass
class Stack:
    """What is running: the platform with a second API process and a worker, and who watches it."""

    folder: Path
    ports: dict[str, int]
    calls: Calls
    guard: Guard
    programs: dict[str, Program]
    running: dict[str, Running] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    @property
    def prometheus(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.ports['prometheus']}"

    @property
    def alertmanager(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.ports['alertmanager']}"

    def apis(self) -> list[str]:
        """Give the addresses that a load balancer would choose from: those of processes that are ready."""
        return [f"http://127.0.0.1:{self.ports[pod]}" for pod in _APIS if pod in self.ready]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Evaluate a query now."""
        reply = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, timeout=10)
        reply.raise_for_status()
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def value(self, query: str) -> float | None:
        """Give the first value of a query, if it has one."""
        found = self.ask(query)
        return float(found[0]["value"][1]) if found else None

    def alerts(self, state: str) -> set[str]:
        """Name the alerts that are `firing` or `pending`, but for the one that always fires."""
        return {one["metric"]["alertname"] for one in self.ask(f'ALERTS{{alertstate="{state}",severity!="none"}}')}

    def inject(self, fault: str) -> None:
        """Let requests fail or be slow from now on; empty: no more."""
        (self.folder / "faults").write_text(fault)

    def pid(self, part: str) -> int:
        """Give the process of a part: `postgres`, `valkey`, or a pod of our own."""
        if part in self.running:
            return self.running[part].pid
        return int((self.folder / "platform" / part / f"{part}.pid").read_text())

    def start(self, name: str, answers: str) -> None:
        """Start one of the programs, and wait until this path of it is answered.

        Raises:
            Missing: it does not start.
        """
        running = self.running[name] = self.programs[name].start(self.guard)
        url = f"http://127.0.0.1:{self.ports[name]}{answers}"
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while not _answers(url):
            if running.has_ended() or time.monotonic() > deadline:
                raise Missing(f"{name} did not start; the end of its log:\n{running.last_words()}")
            time.sleep(0.1)
        self.ready.add(name)

    async def kill(self, name: str) -> None:
        """End one of the programs as the kernel does when memory is short."""
        self.ready.discard(name)
        running = self.running.pop(name)
        running.process.kill()
        await asyncio.to_thread(running.stop)

    def show(self, job: str, *, without: str = "") -> None:
        """Tell Prometheus which pods a job has."""
        write_targets(self.folder, job, {pod: port for pod, port in self.ports.items() if pod != without})

    async def superuser(self) -> asyncpg.Connection:
        """Connect as the one whom no wall holds back; no trigger fires for this connection."""
        server = self.folder / "platform" / "postgres"
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=int((server / "port").read_text()),
            user=SUPERUSER,
            password=(server / "superuser.password").read_text(),
            database=roles.DATABASE,
            timeout=10,
        )
        await connection.execute("SET session_replication_role = replica")
        return connection


@contextmanager
def started(folder: Path, sooner: int = 1) -> Iterator[Stack]:
    """Start everything with its data in *folder*; tickets come so many times sooner.

    Raises:
        Missing: Prometheus or Alertmanager is not installed, or a part did not become ready.
    """
    ports = {name: free_port() for name in (*_APIS, "worker-0", "prometheus", "alertmanager")}
    programs = _programs(folder, ports)
    folder.chmod(0o711)  # the servers' account, if root starts them, must pass through to its own
    guard = Guard()
    guard.remove(folder)  # also when we are killed
    with receiving() as calls:
        stack = Stack(folder, ports, calls, guard, programs)
        try:
            stack.inject("")
            write_configurations(folder, ports, calls.port, sooner)
            stack.start("alertmanager", "/-/ready")
            stack.start("api-0", "/readyz")
            stack.start("api-1", "/readyz")
            stack.start("worker-0", "/readyz")
            stack.start("prometheus", "/-/ready")
            yield stack
        finally:
            for one in reversed(stack.running.values()):
                one.stop(within_seconds=60)
            guard.close()


def _programs(folder: Path, ports: dict[str, int]) -> dict[str, Program]:
    cli = [sys.executable, "-m", "telemed.cli"]
    ours = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON} | {
        "TELEMED_HOME": str(folder / "platform"),
        "LOOK_FAULTS": str(folder / "faults"),
        "PYTHONPATH": os.pathsep.join([str(FAULTS), str(ROOT / "services"), str(ROOT)]),
        "DRAIN_SECONDS": "0",
    }

    def program(name: str, command: list[str], stop: signal.Signals = signal.SIGTERM, **more: str) -> Program:
        log, pid_file = folder / f"{name}.log", folder / f"{name}.pid"
        return Program(name, command, log, pid_file, stop, environment=ours | more, folder=folder)

    run = [sys.executable, "-m", "observability.look.without_worker", str(ports["api-0"])]
    return {
        "alertmanager": program("alertmanager", _alertmanager(folder, ports["alertmanager"])),
        "prometheus": program("prometheus", _prometheus(folder, ports["prometheus"])),
        "api-0": program("api-0", run, signal.SIGINT),  # and with it the servers
        "api-1": program("api-1", [*cli, "serve", "all"], PORT=str(ports["api-1"])),
        "worker-0": program("worker-0", [*cli, "work"], MANAGEMENT_PORT=str(ports["worker-0"])),
    }


def _prometheus(folder: Path, port: int) -> list[str]:
    return [
        _program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]


def _alertmanager(folder: Path, port: int) -> list[str]:
    return [
        _program("prometheus-alertmanager", "alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]


def _program(*names: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        found = shutil.which(name, path=path)
        if found is not None:
            return found
    raise Missing(f"{names[0]} is not installed; `make observe-deps` installs it.")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
