"""Starts the platform, Prometheus and Alertmanager as processes of this machine, and surely stops them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from observability.look.receiver import Calls, receiving

from telemed.local.processes import Guard, Program, Running, free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "telemed-observability" / "rules"
ALERTMANAGER = ROOT / "observability" / "alertmanager" / "alertmanager.yml"
FAULTS = Path(__file__).parent / "faults"
EVERY = "5s"  # scraped and evaluated; in production every 15 or 30, which delays a page by as much
_READY_WITHIN_SECONDS = 120.0


class Missing(Exception):
    """A program is not installed, or something did not start; the message is the one sentence to show."""


@dataclass
class Stack:
    """What is running."""

    api: str  # address of the platform
    prometheus: str
    alertmanager: str
    calls: Calls
    home: Path  # of the platform
    faults: Path  # the file that says what is to go wrong
    running: list[Running] = field(default_factory=list)

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

    def firing(self) -> set[str]:
        """Name the alerts that fire, but for the one that always does."""
        return {one["metric"]["alertname"] for one in self.ask('ALERTS{alertstate="firing",severity!="none"}')}

    def inject(self, fault: str) -> None:
        """Let requests fail or be slow from now on; empty: no more."""
        self.faults.write_text(fault)

    @contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """Stop a part of the platform without ending it: `worker`, `postgres`, `valkey`."""
        file = next(self.home.rglob(f"{part}.pid"))
        family = _family(int(file.read_text().split()[0]))
        for process in family:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(family):
                os.kill(process, signal.SIGCONT)


@contextmanager
def started(folder: Path) -> Iterator[Stack]:
    """Start everything with its data in *folder*.

    Raises:
        Missing: Prometheus or Alertmanager is not installed, or a part did not become ready.
    """
    prometheus = _program("prometheus")
    alertmanager = _program("prometheus-alertmanager", "alertmanager")
    guard = Guard()
    ports = {name: free_port() for name in ("api", "worker", "prometheus", "alertmanager")}
    running: list[Running] = []
    try:
        with receiving() as calls:
            stack = Stack(
                api=f"http://127.0.0.1:{ports['api']}",
                prometheus=f"http://127.0.0.1:{ports['prometheus']}",
                alertmanager=f"http://127.0.0.1:{ports['alertmanager']}",
                calls=calls,
                home=folder / "platform",
                faults=folder / "faults",
                running=running,
            )
            stack.inject("")
            _write_configurations(folder, ports, calls.port)
            running.append(_alertmanager(alertmanager, folder, ports["alertmanager"], guard))
            running.append(_platform(folder, ports, guard))
            _wait(lambda: _answers(f"{stack.api}/readyz"), running[-1])
            stack.home = _home_of(folder)
            running.append(_prometheus(prometheus, folder, ports["prometheus"], guard))
            _wait(lambda: _answers(f"{stack.prometheus}/-/ready"), running[-1])
            yield stack
    finally:
        for one in reversed(running):
            one.stop(within_seconds=45)
        guard.close()


def configuration_of_prometheus(ports: dict[str, int]) -> dict[str, Any]:
    """Scrape as the charts do: labels of pods come from outside, labels of ours stay."""
    return {
        "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules/*.yaml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}],
        },
        "scrape_configs": [
            {
                "job_name": f"telemed-{name}",
                "honor_labels": True,
                "static_configs": [
                    {"targets": [f"127.0.0.1:{ports[name]}"], "labels": {"namespace": "local", "pod": f"{name}-0"}}
                ],
            }
            for name in ("api", "worker")
        ],
    }


def configuration_of_alertmanager(receiver: int) -> dict[str, Any]:
    """Give the committed routes and inhibitions, with our own receiver in place of the one that they name."""
    committed = yaml.safe_load(ALERTMANAGER.read_text())
    for one in committed["receivers"]:
        for hook in one["webhook_configs"]:
            hook["url"] = f"http://127.0.0.1:{receiver}/{one['name']}"
    return dict(committed)


def _write_configurations(folder: Path, ports: dict[str, int], receiver: int) -> None:
    (folder / "rules").mkdir()
    for file in RULES.glob("*.yaml"):
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            if group.get("interval") == "15s":
                del group["interval"]  # as often as we scrape
        (folder / "rules" / file.name).write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(json.dumps(configuration_of_prometheus(ports)))
    (folder / "alertmanager.yml").write_text(json.dumps(configuration_of_alertmanager(receiver)))


def _platform(folder: Path, ports: dict[str, int], guard: Guard) -> Running:
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    environment |= {
        "TELEMED_HOME": str(folder / "platform"),
        "WORKER_MANAGEMENT_PORT": str(ports["worker"]),
        "ACCESS_TOKEN_SECONDS": "3600",  # the traffic logs in once
        "LOOK_FAULTS": str(folder / "faults"),
        "PYTHONPATH": os.pathsep.join([str(FAULTS), str(ROOT / "services")]),
    }
    command = [sys.executable, "-m", "telemed.cli", "run", "--port", str(ports["api"])]
    return _start("platform", command, folder, guard, environment, signal.SIGINT)


def _prometheus(program: str, folder: Path, port: int, guard: Guard) -> Running:
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    return _start("prometheus", command, folder, guard, dict(os.environ), signal.SIGTERM)


def _alertmanager(program: str, folder: Path, port: int, guard: Guard) -> Running:
    command = [
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    return _start("alertmanager", command, folder, guard, dict(os.environ), signal.SIGTERM)


def _start(
    name: str, command: list[str], folder: Path, guard: Guard, environment: dict[str, str], stop: signal.Signals
) -> Running:
    program = Program(
        name,
        command,
        log=folder / f"{name}.log",
        pid_file=folder / f"{name}.pid",
        stop_signal=stop,
        environment=environment,
        folder=folder,
    )
    return program.start(guard)


def _program(*names: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        found = shutil.which(name, path=path)
        if found is not None:
            return found
    raise Missing(f"{names[0]} is not installed; `make observe-deps` installs it.")


def _home_of(folder: Path) -> Path:
    """Find where the platform keeps its state: elsewhere, if its servers' account cannot enter the folder."""
    for line in (folder / "platform.log").read_text().splitlines():
        if "the data are in " in line:
            return Path(line.partition("the data are in ")[2].rstrip(". "))
    return folder / "platform"


def _family(pid: int) -> list[int]:
    """Give a process and its children; PostgreSQL's are in sessions of their own."""
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [pid, *(int(child) for child in said.stdout.split())]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _wait(is_there: Callable[[], bool], running: Running) -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while not is_there():
        if running.has_ended() or time.monotonic() > deadline:
            raise Missing(f"{running.name} did not start; the end of its log:\n{running.last_words()}")
        time.sleep(0.1)
