"""Processes that are measured have everything on: a target is worth nothing against one that traces nowhere."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.support.waiting import until

import bench
from bench import scene
from bench.scene import TINY, Bench

# Where a process is started otherwise: at the root of it all; with everything off, to compare; to see its statements.
_OTHERWISE = {"stage.py", "scene.py", "cached_search.py", "statements.py"}


async def test_a_tenth_of_the_requests_is_traced_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a collector that is there, and takes it; beside the settings that a benchmark asks for."""
    given: dict[str, str] = {}

    async def serve_pinned(_running: object, _name: str, **settings: str) -> None:
        given.update(settings)

    monkeypatch.setattr(scene, "serve_pinned", serve_pinned)
    lent: Any = SimpleNamespace(running=None)
    async with AsyncExitStack() as stack:
        nowhere: Any = None
        await Bench(nowhere, TINY, stack).serve(lent, "booking", REDIS_URL="redis://here")
        collector = given.pop("OTEL_EXPORTER_OTLP_ENDPOINT")
        async with httpx.AsyncClient() as client:
            assert (await client.post(f"{collector}/v1/traces", content=b"spans")).status_code == 200
    await until(lambda: len(asyncio.all_tasks()) == 1)  # whoever served the client has seen it leave
    assert given == {"TRACE_SAMPLE_RATIO": "0.1", "REDIS_URL": "redis://here"}


def test_no_benchmark_starts_a_process_without_that() -> None:
    """All but one of them once did, and nobody saw that they made no traces."""
    modules = list(Path(next(iter(bench.__path__))).glob("*.py"))
    assert {module.name for module in modules if "serve_pinned" in module.read_text()} == _OTHERWISE
