"""One run of the whole platform, and everything that anybody could have seen of it. Plain data: it can be kept."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from tests.observability.contract.exposition import OPENMETRICS, Series, series_in
from tests.observability.contract.markers import Markers
from tests.observability.contract.prometheus import Prometheus, prometheus
from tests.observability.contract.questions import questions, unconditional
from tests.observability.contract.receiver import SeenSpan, spans_in
from tests.observability.contract.replies import Answer, Answers
from tests.observability.contract.stage import PROCESSES, Servers, Stage, servers_running, staged
from tests.observability.contract.stored import cached_in, rows_in
from tests.observability.contract.temptations import Temptations
from tests.observability.contract.walk import Walk
from tests.support.programs import find_program
from tests.support.waiting import until
from tests.twin.ports import Ports

from telemed.local.processes import wait_until


@dataclass
class Gathered:
    """What one run left everywhere."""

    markers: Markers
    answers: list[Answer] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)  # by process
    plain: dict[str, str] = field(default_factory=dict)  # expositions by process
    openmetrics: dict[str, str] = field(default_factory=dict)
    exported: list[bytes] = field(default_factory=list)  # as the collector got them
    trace_files: dict[str, str] = field(default_factory=dict)
    cached: dict[str, str] = field(default_factory=dict)  # by key
    rows: dict[str, str] = field(default_factory=dict)  # all values of a column, by schema.table.column
    server_logs: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[float] | None] | None = None  # what was answered to each query, if there was a Prometheus
    exemplars: int = 0
    seconds: float = 0.0

    @property
    def spans(self) -> list[SeenSpan]:
        """Decode what the collector got."""
        return [span for body in self.exported for span in spans_in(body)]

    @property
    def series(self) -> list[Series]:
        """Give every series of every process, as Prometheus labels them."""
        return [
            series
            for name, text in self.plain.items()
            for series in series_in(text, {"namespace": "local", "pod": name, "instance": name, "job": "telemed"})
        ]

    def lines(self, process: str) -> list[dict[str, Any]]:
        """Read a process' log.

        Raises:
            ValueError: a line is no JSON.
        """
        return [json.loads(line) for line in self.logs[process].splitlines()]


def gather(folder: Path) -> Gathered:
    """Run the platform once, from the first request to the last line of its log."""
    begun = time.monotonic()
    found = Gathered(Markers())
    ports = Ports()
    targets = dict(zip(PROCESSES, ports.take(len(PROCESSES)), strict=True))
    program = find_program("prometheus")
    # First, as it takes seconds until it looks for targets.
    watching = prometheus(program, folder / "prometheus", targets) if program else nullcontext()
    with watching as watcher, servers_running(ports) as servers:
        asyncio.run(_run(servers, folder, targets, watcher, found))
        found.exported = list(servers.collector.bodies)
        for node in servers.cluster.nodes:
            found.server_logs[node.name] = (node.folder / "postgres.log").read_text()
        found.server_logs["valkey"] = servers.valkey.running.log.read_text()
    ports.close()
    found.trace_files = {file.name: file.read_text() for file in (folder / "traces").glob("*.jsonl")}
    found.seconds = time.monotonic() - begun
    return found


async def _run(
    servers: Servers, folder: Path, targets: Mapping[str, int], watcher: Prometheus | None, found: Gathered
) -> None:
    async with staged(servers, folder, targets) as stage:
        owner = await asyncpg.connect(servers.database.owner)
        if watcher is not None:
            await until(lambda: watcher.ask("sum(up)") == [float(len(targets))])
        await _act(stage, owner, found)
        await asyncio.gather(*(_look(name, port, found) for name, port in targets.items()))
        found.cached = await cached_in(servers.valkey.url)
        if watcher is not None:
            found.asked = await asyncio.to_thread(_ask, watcher)
            found.exemplars = len(watcher.exemplars("telemed_http_request_duration_seconds_bucket"))
        found.rows = await rows_in(owner)
        await owner.close()
    for name, process in stage.processes.items():
        found.logs[name] = process.log.read_text()


async def _act(stage: Stage, owner: asyncpg.Connection, found: Gathered) -> None:
    answers = Answers(found.answers)
    walk = Walk(stage, owner, answers)
    await walk.every_route()
    await walk.refusals()
    await walk.throttled()
    await walk.impatience()
    await walk.overload()
    await Temptations(stage, walk, owner, found.markers).tell()
    await until(lambda: _is_delivered(owner), within_seconds=30)


async def _is_delivered(owner: asyncpg.Connection) -> bool:
    waiting = "SELECT count(*) FROM platform.outbox WHERE delivered_at IS NULL AND parked_at IS NULL"
    return bool(await owner.fetchval(waiting) == 0)


async def _look(name: str, port: int, found: Gathered) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        found.plain[name] = (await client.get("/metrics")).text
        found.openmetrics[name] = (await client.get("/metrics", headers={"Accept": OPENMETRICS})).text


def _ask(watcher: Prometheus) -> dict[str, list[float] | None]:
    # The worker looks at the freshness every 15 seconds, and a rate needs two looks.
    looks = "min(increase(telemed_freshness_checks_total{result='fresh'}[1m]))"
    assert wait_until(lambda: (watcher.ask(looks) or [0.0])[0] > 0, within_seconds=25)
    # And records are made of what was recorded, of some objectives later than of others. What is still missing then is
    # the tests' to say.
    missing = [question.query for question in questions() if question.where.startswith("record ")]
    wait_until(lambda: not _still_silent(watcher, missing), within_seconds=40)
    # A question that looks every quarter of a minute needs one of them to have begun since there are targets.
    assert wait_until(lambda: bool(watcher.ask("max_over_time(timestamp(up == 1)[1h:15s])")), within_seconds=20)
    asked = {question.query: watcher.ask(question.query) for question in questions()}
    # What is silent when all is well says something without its condition.
    return asked | {query: watcher.ask(unconditional(query)) for query, answer in asked.items() if answer == []}


def _still_silent(watcher: Prometheus, queries: list[str]) -> list[str]:
    """Ask again, and leave those that have an answer out of the list."""
    queries[:] = [query for query in queries if not watcher.ask(query)]
    return queries
