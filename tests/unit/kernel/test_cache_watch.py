"""The watch over Redis ends with its context, whatever becomes of one cancellation."""

import asyncio
from datetime import UTC, datetime

import pytest

from telemed.kernel.cache import client
from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache
from telemed.kernel.cache.lookout import Lookout
from telemed.kernel.clock import ManualClock
from telemed.kernel.telemetry.metrics import Metrics


async def test_a_cancellation_that_the_driver_forgets_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `asyncio.wait_for` does on Python 3.11 when answer and cancellation come together."""
    asked = asyncio.Event()

    async def forgetful(_lookout: object) -> None:
        asked.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return

    monkeypatch.setattr(Lookout, "look", forgetful)
    monkeypatch.setattr(client, "_WATCH_SECONDS", 0.001)
    clock = ManualClock(datetime(2026, 11, 23, tzinfo=UTC))
    cache = Cache(parse_address("redis://127.0.0.1:1/0"), timeout_seconds=60, clock=clock, metrics=Metrics())
    async with asyncio.timeout(5):
        async with cache.watched():
            await asked.wait()
            monkeypatch.setattr(client, "_WATCH_SECONDS", 60)
    await cache.close()
