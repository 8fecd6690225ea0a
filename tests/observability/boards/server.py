"""A real Prometheus that remembers an hour of a platform that does not run, objectives included."""

import asyncio
import contextlib
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.observability.boards.history import STEP_SECONDS, history
from tests.support.programs import require_program
from tests.support.waiting import until

RULES = Path(__file__).parents[3] / "charts" / "telemed-observability" / "rules"


@contextlib.contextmanager
def remembering(folder: Path, *, end: float, minutes: int) -> Iterator[str]:
    """Fill a Prometheus with history until *end* and run it; give its address."""
    data = folder / "data"
    samples = folder / "history.om"
    with samples.open("w") as file:
        file.writelines(history(end, minutes=minutes))
    _promtool("tsdb", "create-blocks-from", "openmetrics", str(samples), str(data))
    for number, rules in enumerate(_passes()):
        # Blocks are read at the start, so what builds on a pass is computed by the next server.
        file_of_pass = folder / f"pass-{number}.yaml"
        group = {"name": f"pass-{number}", "interval": f"{STEP_SECONDS}s", "rules": rules}
        file_of_pass.write_text(yaml.safe_dump({"groups": [group]}))
        window = (f"--start={end - minutes * 60:.0f}", f"--end={end:.0f}")
        with running(folder) as address:
            where = (f"--url={address}", f"--output-dir={data}")
            _promtool("tsdb", "create-blocks-from", "rules", *window, *where, str(file_of_pass))
    with running(folder) as address:
        yield address


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a Prometheus that scrapes nothing, over *folder*/data; give its address."""
    configuration = folder / "prometheus.yaml"
    configuration.write_text(f"global: {{scrape_interval: {STEP_SECONDS}s}}\n")
    port = _free_port()
    command = [
        require_program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    log = (folder / "prometheus.log").open("ab")
    with log, subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            asyncio.run(until(lambda: _is_ready(address), within_seconds=60))
            yield address
        finally:
            server.terminate()


def _passes() -> Iterator[list[dict[str, Any]]]:
    """Give the recording rules of the objectives, in passes of which each asks only for what came before."""
    groups = [
        group for file in sorted(RULES.glob("slo-*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"] if "record" in rule]
    waiting = {rule["record"] for rule in rules}
    while rules:
        ready = [rule for rule in rules if not set(re.findall(r"telemed:\w+:\w+", rule["expr"])) & waiting]
        assert ready, "rules that ask for each other"
        yield ready
        waiting -= {rule["record"] for rule in ready}
        rules = [rule for rule in rules if rule["record"] in waiting]


def _promtool(*arguments: str) -> None:
    answer = subprocess.run(
        [require_program("promtool"), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/ready", timeout=5) as answer:  # noqa: S310 - of our own making
            return bool(answer.status == 200)
    except OSError:  # not yet
        return False
