"""The platform as real processes, behind one client that finds the right one by the path."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.support.events import FORBIDDEN

from telemed.kernel.settings import Settings
from telemed.local.processes import Guard, Program, Running, free_port

SERVICES_FOLDER = Path(__file__).parents[2] / "services"
START_WITHIN_SECONDS = 30.0
# Which deployable answers which paths; `all` answers everything.
PREFIXES = {"auth": ("/auth", "/audit"), "booking": ("/booking",), "consultation": ("/consultation",), "all": ("/",)}


@dataclass
class TelemedProcess:
    """One `telemed serve …` or `telemed work`."""

    name: str
    running: Running
    port: int | None
    probes: int | None = None  # the port of its probes, where they have one of their own

    @property
    def url(self) -> str:
        """Give the address of a service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Give the file that it writes its events to."""
        return self.running.log

    def events(self) -> list[dict[str, Any]]:
        """Read what it has logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def offences(self) -> list[dict[str, Any]]:
        """Give the logged events that no test may cause."""
        return [event for event in self.events() if event.get("event") in FORBIDDEN]

    def logged(self, name: str) -> list[dict[str, Any]]:
        """Give the events of this name, in order."""
        return [event for event in self.events() if event["event"] == name]

    def complaints(self) -> list[dict[str, Any]]:
        """Give what was logged as an error, whoever logged it."""
        return [event for event in self.events() if event["level"] not in {"debug", "info", "warning"}]

    def signal(self, number: signal.Signals) -> None:
        """Send the signal to this process alone."""
        self.running.process.send_signal(number)

    async def ended(self, within_seconds: float = 40.0) -> int:
        """Wait for its end and give its exit code."""
        return await asyncio.to_thread(self.running.process.wait, within_seconds)


class Platform:
    """Processes of one test. Started on demand, all gone afterwards."""

    def __init__(self, environment: Mapping[str, str], folder: Path, guard: Guard) -> None:
        self._environment = environment
        self._folder = folder
        self._guard = guard
        self.processes: list[TelemedProcess] = []
        self.client = self.new_client()

    def new_client(self) -> httpx.AsyncClient:
        """Give one more client, for another event loop than that of `client`."""
        return httpx.AsyncClient(transport=_ByPath(self), base_url="http://telemed.test", timeout=30)

    async def serve(self, *names: str, port: int | None = None, **environment: str) -> list[TelemedProcess]:
        """Start these services, each in a process, and wait until all are ready.

        Several processes of one service take turns. *environment* adds to or replaces the settings of the test.
        """
        started = [self._start(["serve", name], name, port or free_port(), environment) for name in names]
        await asyncio.gather(*(self._ready(process) for process in started))
        return started

    async def work(self, **environment: str) -> TelemedProcess:
        """Start a worker; it is running when this returns, though perhaps not yet connected."""
        return self._start(["work"], "worker", None, environment)

    async def stop(self, process: TelemedProcess, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop one process and give its exit code."""
        process.signal(number)
        process.signal(signal.SIGCONT)  # a frozen process ends when it is thawed
        code = await process.ended()
        self._guard.forget(process.running)
        return code

    async def close(self) -> None:
        """Stop everything, and wait for it."""
        await self.client.aclose()
        for process in self.processes:
            process.running.ask_to_stop()
        for process in self.processes:
            await asyncio.to_thread(process.running.stop, within_seconds=30.0)

    def alive(self, path: str) -> list[TelemedProcess]:
        """Give the running processes that answer this path."""
        return [
            process
            for process in self.processes
            if not process.running.has_ended() and path.startswith(PREFIXES.get(process.name, ()))
        ]

    def _start(
        self, arguments: Sequence[str], name: str, port: int | None, environment: Mapping[str, str]
    ) -> TelemedProcess:
        label = f"{name}-{len(self.processes)}"
        env = dict(self._environment) | dict(environment)
        if port is not None:
            env["PORT"] = str(port)
        program = Program(
            label,
            [sys.executable, "-m", "telemed.cli", *arguments],
            log=self._folder / f"{label}.log",
            pid_file=self._folder / f"{label}.pid",
            environment=env,
            folder=self._folder,  # the checkout may hold the address of a platform that somebody else runs
        )
        management = env.get("MANAGEMENT_PORT")
        started = TelemedProcess(name, program.start(self._guard), port, int(management) if management else port)
        self.processes.append(started)
        return started

    async def _ready(self, process: TelemedProcess) -> None:
        deadline = time.monotonic() + START_WITHIN_SECONDS
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline:
                if process.running.has_ended():
                    break
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"http://127.0.0.1:{process.probes}/readyz", timeout=1)).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError(f"{process.name} did not become ready:\n{process.log.read_text()[-4000:]}")


class _ByPath(httpx.AsyncBaseTransport):
    """Sends each request to a process that answers its path, in turn: what an ingress does."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._turn = 0
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1000, keepalive_expiry=5))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answering = self._platform.alive(request.url.path)
        if not answering:
            raise httpx.ConnectError(f"no process answers {request.url.path}", request=request)
        self._turn += 1
        process = answering[self._turn % len(answering)]
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=process.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextlib.asynccontextmanager
async def running_platform(settings: Settings, folder: Path) -> AsyncIterator[Platform]:
    """Lend a platform whose processes are surely gone afterwards, and whose logs must hold no offence."""
    guard = Guard()
    platform = Platform(environment_of(settings), folder, guard)
    try:
        yield platform
    finally:
        await platform.close()
        await asyncio.to_thread(guard.close)
    offences = [event for process in platform.processes for event in process.offences()]
    assert not offences, offences


def environment_of(settings: Settings) -> dict[str, str]:
    """Write the settings as the environment from which a process reads the same."""
    dumped = settings.model_dump(exclude_unset=True)
    values = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in dumped.items()
    }
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return inherited | {"PYTHONPATH": str(SERVICES_FOLDER)} | {name.upper(): value for name, value in values.items()}
