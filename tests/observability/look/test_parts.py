"""The parts of `make observe`: what is configured, what is injected, who is called."""

import asyncio
import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml
from observability.look.receiver import receiving
from observability.look.scenario import FAULTS, Outcome
from observability.look.stack import (
    FAULTS as PATCHES,
)
from observability.look.stack import (
    ROOT,
    RULES,
    configuration_of_alertmanager,
    configuration_of_prometheus,
)
from tests.support.databases import TestDatabase
from tests.support.platform import SERVICES_FOLDER, running_platform
from tests.support.programs import require_program
from tests.support.settings import make_settings

PORTS = {"api": 1, "worker": 2, "alertmanager": 3}


def checked(program: str, *arguments: str | Path) -> None:
    answer = subprocess.run(
        [require_program(program), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """With the committed rules."""
    (tmp_path / "rules").symlink_to(RULES)
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration_of_prometheus(PORTS)))
    checked("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_alertmanager_has_the_committed_routes_and_our_receiver(tmp_path: Path) -> None:
    """Nothing else is changed, so what is seen here is what production does."""
    made = configuration_of_alertmanager(4711)
    (tmp_path / "alertmanager.yml").write_text(json.dumps(made))
    checked("amtool", "check-config", tmp_path / "alertmanager.yml")
    committed = yaml.safe_load((ROOT / "observability" / "alertmanager" / "alertmanager.yml").read_text())
    assert made["route"] == committed["route"]
    assert made["inhibit_rules"] == committed["inhibit_rules"]
    assert {hook["url"] for one in made["receivers"] for hook in one["webhook_configs"]} == {
        f"http://127.0.0.1:4711/{name}" for name in ("page", "ticket", "watchdog")
    }


def test_every_fault_calls_for_a_page_that_exists() -> None:
    """A misspelt name would never come."""
    pages = {
        rule["alert"]
        for file in RULES.glob("*.yaml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if rule.get("labels", {}).get("severity") == "page"
    }
    for fault in FAULTS.values():
        assert {fault.expected} | fault.allowed <= pages, fault.name


def test_who_is_called_is_remembered() -> None:
    """To whom, for what, and whether it begins or ends."""
    alert = {"labels": {"alertname": "A"}, "annotations": {"summary": "It burns."}}
    with receiving() as calls:
        before = time.monotonic()
        for status in ("firing", "resolved"):
            body = {"alerts": [alert | {"status": status}]}
            assert httpx.post(f"http://127.0.0.1:{calls.port}/page", json=body).status_code == 200
    assert [call.alert for call in calls.since(before, "page")] == ["A"]
    assert len(calls.since(before, "page", is_firing=False)) == 1
    assert calls.since(before, "ticket") == []
    assert calls.since(time.monotonic(), "page") == []


@pytest.mark.parametrize(
    ("called", "others", "over", "held"),
    [(20.0, (), 300.0, True), (None, (), None, False), (20.0, ("B",), 300.0, False), (20.0, (), None, False)],
)
def test_only_the_right_call_that_ends_is_good(
    called: float | None, others: tuple[str, ...], over: float | None, held: bool
) -> None:
    """Too late, others besides, or for ever: each is a failure."""
    assert Outcome("errors", "A", called, others, over).held is held


async def test_injected_errors_are_the_platforms_own(database: TestDatabase, redis_url: str, tmp_path: Path) -> None:
    """They are answered with 500 and counted by the process itself; and they end with the file's content."""
    faults = tmp_path / "faults"
    faults.write_text("errors 1.0")
    async with running_platform(make_settings(database, redis_url), tmp_path) as platform:
        (process,) = await platform.serve(
            "booking", PYTHONPATH=f"{PATCHES}:{SERVICES_FOLDER}", LOOK_FAULTS=str(faults), DRAIN_SECONDS="0"
        )
        assert (await platform.client.get("/booking/doctors")).status_code == 500
        faults.write_text("slow 1.0 0.3")
        begun = time.monotonic()
        assert (await platform.client.get("/booking/doctors")).status_code == 200
        assert time.monotonic() - begun >= 0.3
        faults.write_text("")
        assert (await platform.client.get("/booking/doctors")).status_code == 200
        metrics = (await asyncio.to_thread(httpx.get, f"{process.url}/metrics")).text
        process.log.write_text("")  # the last catch has logged what we put in, which no other test may cause
    counted = 'method="GET",route="/booking/doctors",service="booking",status="500",traffic="user"'
    assert f"telemed_http_requests_total{{{counted}}} 1.0" in metrics
