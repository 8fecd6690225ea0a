"""The parts of `make observe`: what is configured, what is injected, who is called."""

import asyncio
import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import yaml
from observability.look.configuration import (
    JOBS,
    ROOT,
    RULES,
    adapted,
    configuration_of_alertmanager,
    configuration_of_prometheus,
    write_targets,
)
from observability.look.damage import THAW
from observability.look.receiver import Call, Calls, receiving
from observability.look.report import keep, table
from observability.look.runbooks import page_of, queries_of, silent
from observability.look.scenario import Outcome, Watch, comebacks, over_since
from observability.look.stack import FAULTS as PATCHES
from observability.look.stack import Stack
from observability.look.table import FAULTS
from observability.look.traffic import PATIENTS, Traffic, flowing
from tests.support.databases import TestDatabase
from tests.support.platform import SERVICES_FOLDER, running_platform
from tests.support.programs import require_program
from tests.support.settings import make_settings
from tests.support.waiting import until

PORTS = {"api-0": 1, "api-1": 2, "worker-0": 3, "alertmanager": 4}


def checked(program: str, *arguments: str | Path) -> None:
    answer = subprocess.run(
        [require_program(program), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """With the committed rules."""
    (tmp_path / "rules").symlink_to(RULES)
    (tmp_path / "targets").mkdir()
    for job in JOBS:
        write_targets(tmp_path, job, PORTS)
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


def test_what_is_gone_is_no_target(tmp_path: Path) -> None:
    """Prometheus reads a whole file, with the labels that a cluster would give."""
    (tmp_path / "targets").mkdir()
    file = tmp_path / "targets" / "telemed-worker.json"
    write_targets(tmp_path, "telemed-worker", PORTS)
    assert json.loads(file.read_text()) == [
        {"targets": ["127.0.0.1:3"], "labels": {"namespace": "local", "pod": "worker-0"}}
    ]
    write_targets(tmp_path, "telemed-worker", {"api-0": 1})
    assert json.loads(file.read_text()) == []


def test_only_tickets_come_sooner() -> None:
    """What a page waits for is what is tried here, so it stays."""

    def waits(sooner: int, severity: str) -> dict[str, str]:
        return {
            rule["alert"]: rule.get("for", "0s")
            for file in RULES.glob("*.yaml")
            for group in adapted(yaml.safe_load(file.read_text()), sooner)["groups"]
            for rule in group["rules"]
            if rule.get("labels", {}).get("severity") == severity
        }

    assert waits(10, "page") == waits(1, "page")
    assert (waits(1, "ticket")["TelemedCacheLeftAlone"], waits(10, "ticket")["TelemedCacheLeftAlone"]) == ("10m", "60s")
    said = {sooner: configuration_of_alertmanager(1, sooner)["route"]["routes"] for sooner in (1, 10)}
    for real, shorter in zip(said[1], said[10], strict=True):
        is_ticket = real["receiver"] == "ticket"
        assert shorter["group_wait"] == ("30s" if is_ticket else real["group_wait"])


def test_every_fault_calls_for_an_alert_that_exists() -> None:
    """A misspelt name would never come, nor one that goes to somebody else."""
    alerts: dict[str, set[str]] = {"page": set(), "ticket": set(), "none": set()}
    for file in RULES.glob("*.yaml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    alerts[rule["labels"]["severity"]].add(rule["alert"])
    for fault in FAULTS.values():
        assert fault.expected in alerts[fault.receiver], fault.name
        assert fault.allowed <= alerts["page"], fault.name


def test_whoever_is_called_finds_queries_to_paste() -> None:
    """In the page that the alert names; also those that stand inside of a list."""
    for fault in FAULTS.values():
        assert queries_of(page_of(fault.expected)), fault.name
    assert "max by (server) (telemed_database_breaker_open)" in queries_of(page_of("TelemedAvailabilityBurnsFast"))
    assert silent(["a", "b"], {"a": [], "b": [{"value": [0, "0"]}]}.__getitem__) == ("a",)


def test_who_is_called_is_remembered() -> None:
    """To whom, for what, and whether it begins or ends."""
    alert = {"labels": {"alertname": "A"}, "fingerprint": "a1", "annotations": {"summary": "It burns."}}
    with receiving() as calls:
        before = time.monotonic()
        for status in ("firing", "resolved"):
            body = {"alerts": [alert | {"status": status}]}
            assert httpx.post(f"http://127.0.0.1:{calls.port}/page", json=body).status_code == 200
    assert [call.alert for call in calls.since(before, "page")] == ["A"]
    assert len(calls.since(before, "page", is_firing=False)) == 1
    assert calls.since(before, "ticket") == []
    assert calls.since(time.monotonic(), "page") == []


def outcome(
    called: float | None = 20.0,
    others: tuple[str, ...] = (),
    over: float | None = 300.0,
    *,
    must_end: bool = True,
) -> Outcome:
    return Outcome("errors", "5 % fail", "A", "page", called, (), others, (), over, must_end)


@pytest.mark.parametrize(
    ("made", "held"),
    [
        (outcome(), True),
        (outcome(called=None, over=None), False),
        (outcome(others=("B",)), False),
        (outcome(over=None), False),
        (outcome(over=None, must_end=False), True),
        (dataclasses.replace(outcome(), called_again=1), False),
    ],
)
def test_only_the_right_call_that_ends_is_good(made: Outcome, held: bool) -> None:
    """Too late, others besides, for ever or again: each is a failure; what is remembered on purpose is none."""
    assert made.held is held


def course(*told: tuple[float, bool]) -> list[Call]:
    return [Call(at, "page", "A", "a1", is_firing, "It burns.") for at, is_firing in told]


def test_what_comes_back_is_not_over() -> None:
    """Nor what another pod still has, nor what ended a moment ago: windows of a minute may bring it back."""
    ended, back = course((10, True), (20, False)), course((10, True), (20, False), (60, True))
    assert over_since([ended], 200) == 20
    assert over_since([ended], 60) is None
    assert over_since([ended, course((12, True))], 200) is None
    assert over_since([back], 200) is None
    assert [comebacks(one) for one in (ended, back, course((10, True), (70, True)))] == [0, 1, 0]


def answered_late(_: str) -> list[int]:
    time.sleep(0.2)
    return [1]


async def test_a_fault_may_be_gone_before_anybody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the call is still waited for, and how long it took to be over counts from the fault's end."""
    monkeypatch.setattr("observability.look.scenario._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("observability.look.scenario._SETTLED_SECONDS", 0.01)
    course: list[str] = []
    calls = Calls()
    told = partial(Call, receiver="page", alert=FAULTS["errors"].expected, of="1", summary="It burns.")

    @contextlib.asynccontextmanager
    async def passing(_: Stack) -> AsyncIterator[None]:
        course.append("begins")
        yield
        course.append("gone")
        calls.take(told(time.monotonic(), is_firing=True))
        calls.take(told(time.monotonic() + 0.5, is_firing=False))

    fault = dataclasses.replace(FAULTS["errors"], damage=passing, gone_after_seconds=0.3)
    stack = SimpleNamespace(calls=calls, ask=answered_late)
    outcome = await Watch(cast("Stack", stack), cast("Traffic", None), course.append).suffer(fault)
    assert course.count("gone") == 1
    assert course.index("the fault is gone") < course.index("called after 0 s: TelemedAvailabilityBurnsFast")
    assert outcome.held
    assert outcome.called_after_seconds is not None
    assert outcome.called_after_seconds >= 0.3
    assert outcome.over_after_seconds is not None
    assert 0 < outcome.over_after_seconds <= 0.5


def test_the_table_names_who_was_called_besides() -> None:
    """Whoever reads it sees at once what should not have come."""
    words = table([outcome(), outcome(others=("B",))])
    assert [line.split()[0] for line in words.splitlines()[1:]] == ["held", "FAILED"]
    assert "NOT ALLOWED: B" in words.splitlines()[2]


def test_results_of_other_faults_are_kept(tmp_path: Path) -> None:
    """A run of one fault replaces that one only."""
    file = tmp_path / "results" / "latest.json"
    keep([outcome()], file, 10)
    keep([dataclasses.replace(outcome(over=None), fault="slow")], file, 10)
    faults = json.loads(file.read_text())["faults"]
    assert {name: one["held"] for name, one in faults.items()} == {"errors": True, "slow": False}


async def test_traffic_does_not_wait_for_answers() -> None:
    """A platform that never answers is asked as often as a quick one; else its slowness would hide itself."""
    heard = connected = 0
    silence = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard, connected
        connected += 1
        while await reader.readline() not in {b"", b"\r\n"}:
            pass
        heard += 1
        if heard > 2 * PATIENTS:  # everybody has signed in
            await silence.wait()
        body = b'{"access_token": "t"}'
        with contextlib.suppress(ConnectionError):  # who asked may have given up
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        connected -= 1

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with flowing(lambda: [f"http://127.0.0.1:{port}"], 200.0) as traffic:
        await until(lambda: heard >= 2 * PATIENTS + 50)
        assert traffic.answers == {}
    silence.set()
    await until(lambda: connected == 0)
    server.close()
    await server.wait_closed()


async def test_what_is_frozen_goes_on_when_who_froze_it_is_gone(tmp_path: Path) -> None:
    """Else a drill that was killed would leave processes that nobody can end."""
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    drill = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", THAW, str(sleeper.pid)), stdin=subprocess.PIPE, start_new_session=True
    )
    sleeper.send_signal(signal.SIGSTOP)
    await until(lambda: state_of(sleeper.pid) == "T")
    assert drill.stdin is not None
    drill.stdin.close()  # as it is when the process that holds it ends, however
    await drill.wait()
    await until(lambda: state_of(sleeper.pid) == "S")
    sleeper.kill()
    await sleeper.wait()


def state_of(process: int) -> str:
    said = subprocess.run(["ps", "-o", "state=", "-p", str(process)], capture_output=True, text=True, check=False)
    return said.stdout.strip()[:1]


async def until_late(url: str) -> None:
    """Wait until the process itself says that its loop was late."""

    async def is_late() -> bool:
        metrics = (await asyncio.to_thread(httpx.get, f"{url}/metrics", timeout=10)).text
        (line,) = [line for line in metrics.splitlines() if line.startswith("telemed_event_loop_late_seconds_total ")]
        return float(line.split()[1]) > 1

    await until(is_late)


async def test_injected_errors_are_the_platforms_own(database: TestDatabase, redis_url: str, tmp_path: Path) -> None:
    """They are answered with 500 and counted by the process itself; and they end with the file's content."""
    faults = tmp_path / "faults"
    faults.write_text("errors 1.0")
    async with running_platform(make_settings(database, redis_url), tmp_path) as platform:
        (process,) = await platform.serve(
            "booking", PYTHONPATH=f"{PATCHES}:{SERVICES_FOLDER}", LOOK_FAULTS=str(faults), DRAIN_SECONDS="0"
        )
        assert (await platform.client.get("/booking/doctors")).status_code == 500

        async def book() -> int:
            body, headers = {"slot_id": str(uuid.uuid4())}, {"Authorization": "Bearer nobodys"}
            return (await platform.client.post("/booking/slots/book", json=body, headers=headers)).status_code

        # A search that could be answered from memory, and a booking as regular as those that skip the framework.
        assert (await platform.client.get("/booking/slots/search")).status_code == 500
        assert await book() == 500
        faults.write_text("errors 1.0 /slots/book")
        assert (await platform.client.get("/booking/slots/search")).status_code == 200
        assert await book() == 500
        faults.write_text("slow 1.0 0.3")
        begun = time.monotonic()
        assert (await platform.client.get("/booking/doctors")).status_code == 200
        assert time.monotonic() - begun >= 0.3
        faults.write_text("block 0.6 0.2")
        await until_late(process.url)
        faults.write_text("")

        async def is_well() -> bool:  # a loop that was late refuses searches for a moment more
            return (await platform.client.get("/booking/doctors")).status_code == 200

        await until(is_well)
        metrics = (await asyncio.to_thread(httpx.get, f"{process.url}/metrics")).text
        process.log.write_text("")  # the last catch has logged what we put in, which no other test may cause
    counted = 'method="GET",route="/booking/doctors",service="booking",status="500",traffic="user"'
    assert f"telemed_http_requests_total{{{counted}}} 1.0" in metrics
