"""Without a collector, or with one that does not do its part, everything else goes on as ever."""

import asyncio
import time

import httpx
from tests.observability.contract.receiver import Manner, receiving
from tests.support.platform import Platform, TelemedProcess
from tests.support.waiting import until

from telemed.local.processes import free_port

# Nothing is drained and nobody is served at that moment; what waits for the collector has two seconds (export.py).
ENDS_WITHIN_SECONDS = 8.0
PATH = "/booking/doctors"


async def process_with(platform: Platform, collector: str) -> TelemedProcess:
    """Start a process that sends every span there."""
    (process,) = await platform.serve("all", OTEL_EXPORTER_OTLP_ENDPOINT=collector, TRACE_SAMPLE_RATIO="1")
    return process


async def serve_and_end(platform: Platform, collector: str) -> TelemedProcess:
    """Ask a process something, wait until it misses its collector, ask again, and stop it."""
    process = await process_with(platform, collector)
    async with httpx.AsyncClient(base_url=process.url, timeout=5) as client:
        assert (await client.get(PATH)).status_code == 200
        await until(lambda: bool(process.logged("traces.lost")), within_seconds=30)
        for _ in range(20):
            assert (await client.get(PATH)).status_code == 200
    begun = time.monotonic()
    assert await platform.stop(process) == 0
    assert time.monotonic() - begun < ENDS_WITHIN_SECONDS, collector
    return process


async def test_requests_are_served_and_the_loss_is_said_once(platform_processes: Platform) -> None:
    """Nobody listens, it answers 500, or it accepts and never answers: one line, and an end in time."""
    with receiving(Manner.REFUSES) as refusing, receiving(Manner.IS_SILENT) as silent:
        collectors = [f"http://127.0.0.1:{free_port()}", refusing.url, silent.url]
        ended = await asyncio.gather(*(serve_and_end(platform_processes, collector) for collector in collectors))
        assert refusing.paths == silent.paths == {"/v1/traces"}
    for process in ended:
        assert len(process.logged("traces.lost")) == 1
        assert process.complaints() == []


async def test_what_was_lost_is_told_when_it_is_back(platform_processes: Platform) -> None:
    """A collector that restarts gets the spans from then on, and the log says so once."""
    with receiving(Manner.REFUSES) as collector:
        process = await process_with(platform_processes, collector.url)
        await platform_processes.client.get(PATH)
        await until(lambda: bool(process.logged("traces.lost")), within_seconds=30)
        collector.manner = Manner.TAKES
        await platform_processes.client.get(PATH)
        await until(lambda: bool(process.logged("traces.recovered")))
    assert len(process.logged("traces.lost")) == len(process.logged("traces.recovered")) == 1
