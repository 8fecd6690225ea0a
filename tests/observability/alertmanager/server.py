"""A real Alertmanager that tells a small receiver, three hundred times faster than its configuration says."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.observability.alertmanager.configurations import Document, plain_document
from tests.support.programs import require_program
from tests.support.waiting import until

from telemed.local.processes import free_port

FASTER = 300  # a minute becomes a fifth of a second
_SECONDS = {"s": 1, "m": 60, "h": 3600}

Labels = dict[str, str]


@dataclass
class Told:
    """What each receiver was told, in the order of its coming: (receiver, notification)."""

    notifications: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # as Alertmanager makes them

    def names(self, receiver: str, status: str = "firing") -> list[str]:
        """Return the names of the alerts that a receiver was told of with this status."""
        return [
            str(alert["labels"]["alertname"])
            for name, notification in list(self.notifications)
            for alert in notification["alerts"]
            if name == receiver and alert["status"] == status
        ]

    def groups(self, receiver: str) -> list[set[str]]:
        """Return the names of the alerts of each notification."""
        told = [notification for name, notification in list(self.notifications) if name == receiver]
        return [{str(alert["labels"]["alertname"]) for alert in one["alerts"]} for one in told]


@dataclass
class Alertmanager:
    """A running one, its API, and what it has told."""

    api: httpx.AsyncClient
    told: Told

    async def fire(self, *alerts: Labels, until_seconds: float = 600) -> None:
        """Report alerts, as Prometheus does while they fire; with 0, as it does when they end."""
        ends_at = datetime.now(UTC) + timedelta(seconds=until_seconds)
        body = [{"labels": labels, "endsAt": ends_at.isoformat()} for labels in alerts]
        answer = await self.api.post("/api/v2/alerts", json=body)
        answer.raise_for_status()

    async def suppressed(self) -> dict[tuple[str, str], bool]:
        """Return for each alert, by namespace and name, whether another one holds it back."""
        answer = await self.api.get("/api/v2/alerts")
        answer.raise_for_status()
        return {
            (alert["labels"].get("namespace", ""), alert["labels"]["alertname"]): bool(alert["status"]["inhibitedBy"])
            for alert in answer.json()
        }


@contextlib.asynccontextmanager
async def running_alertmanager(folder: Path, *, tells: bool = True) -> AsyncIterator[Alertmanager]:
    """Start one with our routes and inhibitions, and end it with the context; it may be one that tells nobody."""
    with _listening() as (address, told):
        configuration = folder / "alertmanager.yml"
        configuration.write_text(yaml.safe_dump(_faster(plain_document(), address, tells=tells)))
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            require_program("prometheus-alertmanager"),
            f"--config.file={configuration}",
            f"--storage.path={folder}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=error",
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as api:
                await until(lambda: _is_ready(api))
                yield Alertmanager(api, told)
        finally:
            process.terminate()
            await process.wait()


async def _is_ready(api: httpx.AsyncClient) -> bool:
    try:
        return (await api.get("/-/ready")).status_code == httpx.codes.OK
    except httpx.TransportError:  # not yet
        return False


@contextlib.contextmanager
def _listening() -> Iterator[tuple[str, Told]]:
    """Note whatever is posted, by the address that it is posted to."""
    told = Told()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.notifications.append((self.path.strip("/"), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the test looks at what was noted."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, name="receiver")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _faster(document: Document, address: str, *, tells: bool) -> Document:
    route = document["route"]
    for one in (route, *route["routes"], *(child for parent in route["routes"] for child in parent.get("routes", []))):
        for name in ("group_wait", "group_interval", "repeat_interval"):
            one[name] = _shorter(one[name])
    for receiver in document["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["url"] = f"{address}/{receiver['name']}"
        receiver["webhook_configs"] = receiver["webhook_configs"] if tells else []
    return document


def _shorter(duration: str) -> str:
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smh])", duration))
    return f"{max(1, round(seconds * 1000 / FASTER))}ms"
