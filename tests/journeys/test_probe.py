"""`telemed probe`: tries a running platform for ever, counts how it went, and leaves nothing behind."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.commands import Finished, begun, finished
from tests.support.fleet import Fleet
from tests.support.meddler import Meddler, hold, made_answer, meddling_with
from tests.support.platform import environment_of
from tests.support.synthetic import NAMES, Scene
from tests.support.waiting import until

from telemed.local.processes import free_port

FLEET = NAMES
JOURNEYS = "telemed_probe_journeys_total"


@dataclass
class Probe:
    """A running probe."""

    process: Process
    management: httpx.AsyncClient

    async def value(self, name: str, **labels: str) -> float:
        """Read one metric as Prometheus does; 0 if it is not there, or nobody answers yet."""
        try:
            answer = await self.management.get("/metrics")
        except httpx.TransportError:
            return 0
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.text)
        samples = [sample for family in families for sample in family.samples]
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def counts(self, outcome: str, at_least: float) -> None:
        """Wait until so many journeys have ended like this."""

        async def is_so() -> bool:
            return await self.value(JOURNEYS, outcome=outcome) >= at_least

        await until(is_so, within_seconds=60)

    async def stop(self) -> Finished:
        """Tell it to stop and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        return await finished(self.process)


@asynccontextmanager
async def probing(scene: Scene, *more: str, **addresses: str) -> AsyncIterator[Probe]:
    """Run the probe against the platform of the scene, a journey a second; it may have ended with the context."""
    port = free_port()
    environment = environment_of(scene.settings) | {"MANAGEMENT_PORT": str(port), "HOST": "127.0.0.1"}
    arguments = [*scene.arguments(**addresses), "--every-seconds", "1", *more]
    process = await begun(environment, "probe", *arguments)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as management:
            yield Probe(process, management)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def logged(done: Finished, event: str) -> list[dict[str, Any]]:
    """Give the lines of this name, which a person on call reads."""
    lines = [json.loads(line) for line in done.output.splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.fixture
async def scene(fleet: Fleet) -> AsyncIterator[Scene]:
    """One process of each service, which the tests share."""
    scene = Scene(fleet.settings, {name: fleet.of(name)[0] for name in NAMES}, fleet.owner)
    yield scene
    await scene.forget()


@pytest.fixture
async def booking(scene: Scene) -> AsyncIterator[Meddler]:
    """Stands before booking."""
    async with meddling_with(scene.processes["booking"].port) as meddler:
        yield meddler


async def test_journeys_that_hold_are_counted_and_leave_nothing(scene: Scene) -> None:
    """Again and again; each step has its time, the last success its moment, and the platform knows whose they are."""
    async with probing(scene) as probe:
        await probe.counts("held", 2)
        shown = (await probe.management.get("/metrics")).text
        assert f'{JOURNEYS}{{outcome="failed"}} 0.0' in shown  # there from the start: a rate needs a first value
        assert "telemed_http_requests_in_flight" not in shown
        age = (await scene.owner.fetchval("SELECT extract(epoch FROM now())::float8")) - await probe.value(
            "telemed_probe_succeeded_timestamp_seconds"
        )
        assert -1 < age < 30
        assert await probe.value("telemed_probe_step_duration_seconds_count", step="a patient books it") >= 2
        assert (await probe.management.get("/livez")).status_code == 200
        assert (await probe.management.get("/readyz")).status_code == 200
        assert (await probe.management.get("/elsewhere")).status_code == 404
        done = await probe.stop()
    assert (done.code, done.errors) == (0, "")
    assert len(logged(done, "journey.held")) >= 2
    assert await scene.left() == {}
    assert await scene.count("SELECT count(*) FROM audit.records WHERE request_id LIKE 'telemed-probe-%'") > 20


async def requests_counted(scene: Scene, traffic: str) -> dict[str, float]:
    """Give how many requests of this kind each service has counted."""
    counted = {}
    for name in NAMES:
        async with httpx.AsyncClient(base_url=scene.processes[name].url) as client:
            families = text_string_to_metric_families((await client.get("/metrics")).text)
        samples = [sample for family in families for sample in family.samples]
        counted[name] = sum(
            sample.value
            for sample in samples
            if sample.name == "telemed_http_requests_total" and sample.labels["traffic"] == traffic
        )
    return counted


async def test_the_platform_takes_its_requests_for_synthetic(scene: Scene) -> None:
    """All of them, at every service: none is in an objective. `traffic` is told by the User-Agent."""
    users, synthetic = await requests_counted(scene, "user"), await requests_counted(scene, "synthetic")
    async with probing(scene) as probe:
        await probe.counts("held", 1)
        await probe.stop()
    assert await requests_counted(scene, "user") == users
    after = await requests_counted(scene, "synthetic")
    assert all(after[name] > synthetic[name] for name in NAMES), after


async def test_a_failure_is_counted_and_named_and_the_next_journey_goes_on(scene: Scene, booking: Meddler) -> None:
    """The log says at which step and what was answered; when it is mended, journeys hold again."""

    async def broken(line: str, answer: bytes) -> bytes:
        lie = made_answer(503, b'{"type": "overloaded", "trace_id": "abc"}')
        return lie if line.startswith("POST /booking/slots/book") else answer

    booking.change = broken
    async with probing(scene, booking=booking.url) as probe:
        await probe.counts("failed", 2)
        shown = (await probe.management.get("/metrics")).text
        assert f'{JOURNEYS}{{outcome="held"}} 0.0' in shown
        assert "telemed_probe_succeeded_timestamp_seconds 0.0" in shown
        booking.change = None
        await probe.counts("held", 1)
        done = await probe.stop()
    sentence = "503 overloaded (trace abc) instead of 201"
    assert all("a patient books it: " in line["problem"] for line in logged(done, "journey.failed"))
    assert all(sentence in line["problem"] for line in logged(done, "journey.failed"))
    assert await scene.left() == {}


async def test_a_service_that_is_down_does_not_end_it(scene: Scene) -> None:
    """Nobody listens there: each journey fails, and the probe lives."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with probing(scene, consultation=nowhere) as probe:
        await probe.counts("failed", 2)
        done = await probe.stop()
    assert done.code == 0
    assert f"consultation at {nowhere} is not there" in logged(done, "journey.failed")[0]["problem"]
    assert await scene.left() == {}


async def test_told_to_stop_in_the_middle_it_takes_back_what_it_made(scene: Scene, booking: Meddler) -> None:
    """In the middle of a booking whose answer never comes; the journey counts as neither held nor failed."""
    asked = hold(booking, "POST /booking/slots/book")
    async with probing(scene, booking=booking.url) as probe:
        await asyncio.wait_for(asked.wait(), 60)
        done = await probe.stop()
    assert done.code == 0, done
    (line,) = logged(done, "journey.stopped")
    assert "stopped by SIGTERM" in line["problem"]
    assert logged(done, "journey.failed") == []
    assert await scene.left() == {}


async def test_told_to_stop_between_journeys_it_stops_at_once(scene: Scene) -> None:
    """Nobody waits for the next one."""
    async with probing(scene, "--every-seconds", "3600") as probe:
        await probe.counts("held", 1)
        done = await asyncio.wait_for(probe.stop(), 10)
    assert (done.code, len(logged(done, "probe.stopped"))) == (0, 1)


async def test_a_journey_that_takes_too_long_fails(scene: Scene, booking: Meddler) -> None:
    """An answer that never comes costs a journey, not the probe."""
    hold(booking, "GET /booking/appointments/")
    async with probing(scene, "--timeout-seconds", "5", booking=booking.url) as probe:
        await probe.counts("failed", 1)
        await probe.counts("held", 1)
        done = await probe.stop()
    assert "did not answer in time" in logged(done, "journey.failed")[0]["problem"]
    assert await scene.left() == {}


async def test_a_port_that_is_taken_is_said_at_once(scene: Scene) -> None:
    """One sentence, before anything is asked of anybody."""
    taken = scene.processes["auth"].port
    environment = environment_of(scene.settings) | {"MANAGEMENT_PORT": str(taken), "HOST": "127.0.0.1"}
    done = await finished(await begun(environment, "probe", *scene.arguments()))
    assert (done.code, done.errors) == (
        1,
        f"telemed: Cannot listen on 127.0.0.1 port {taken}: Address already in use.\n",
    )
