"""A real Prometheus that scrapes the processes of the test every second and evaluates the rules of the charts."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.observability.contract.questions import RULES

from telemed.local.processes import Guard, Program, Running, free_port, wait_until

# A subquery looks at full minutes, of which the test's run may have none.
_SUBQUERY = re.compile(r"\[\w+:\w+\]")


@dataclass(frozen=True)
class Prometheus:
    """A server that has begun to scrape."""

    running: Running
    client: httpx.Client

    def ask(self, query: str) -> list[float] | None:
        """Evaluate a query now and give the values; None if Prometheus refuses it."""
        reply = self.client.get("/api/v1/query", params={"query": query})
        if reply.status_code != 200:
            return None
        data = reply.json()["data"]
        found = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        return [float(value) for _, value in found]

    def exemplars(self, query: str) -> list[dict[str, Any]]:
        """Give the series that have exemplars, which are traces of single requests."""
        bounds = {"start": str(time.time() - 600), "end": str(time.time() + 1)}
        reply = self.client.get("/api/v1/query_exemplars", params={"query": query, **bounds})
        found: list[dict[str, Any]] = reply.json()["data"]
        return found


@contextmanager
def prometheus(program: str, folder: Path, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """Lend a Prometheus that scrapes these ports, by the name of the process, as the charts' one scrapes pods."""
    folder.mkdir()
    guard = Guard()
    _write_rules(folder / "rules")
    (folder / "prometheus.yml").write_text(json.dumps(_configuration(targets)))
    port = free_port()
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    running = Program("prometheus", command, log=folder / "log", pid_file=folder / "pid").start(guard)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            assert wait_until(lambda: _is_ready(client), within_seconds=20), running.last_words()
            yield Prometheus(running, client)
    finally:
        running.stop()
        guard.close()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _configuration(targets: Mapping[str, int]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"},
        "rule_files": ["rules/*.yaml"],
        "storage": {"exemplars": {"max_exemplars": 10_000}},
        "scrape_configs": [
            {
                "job_name": "telemed",
                "honor_labels": True,  # our own `job` of the worker's metrics stays, as in the charts
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{port}"],
                        "labels": {"namespace": "local", "pod": name, "container": "telemed"},
                    }
                    for name, port in targets.items()
                ],
            }
        ],
    }


def _write_rules(folder: Path) -> None:
    """Copy the rules with a day of theirs pressed into a minute: evaluated, and looked at, in seconds."""
    folder.mkdir()
    for file in RULES.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        for group in content["groups"]:
            group["interval"] = "2s"
            for rule in group["rules"]:
                rule["expr"] = _SUBQUERY.sub("[1m:1s]", rule["expr"])
        (folder / file.name).write_text(json.dumps(content))
