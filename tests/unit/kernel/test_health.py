"""Lateness of the event loop: a single pause is none, an overload is."""

import asyncio
import time

import pytest

from telemed.kernel import health
from telemed.kernel.health import Health
from telemed.kernel.telemetry.metrics import Metrics

PAUSE_SECONDS = 0.1


@pytest.fixture(autouse=True)
def quick_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat that is much shorter than the pauses of these tests."""
    monkeypatch.setattr(health, "_BEAT_SECONDS", 0.01)


async def beats(number: int, *, pausing: bool) -> None:
    """Let so many beats pass, each of them late if the loop pauses."""
    for _ in range(number):
        if pausing:
            time.sleep(PAUSE_SECONDS)  # noqa: ASYNC251 - blocks the event loop on purpose
            for _ in range(3):  # turns enough for the late beat, and no time for another
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.03)


async def test_one_pause_alone_is_no_overload() -> None:
    """Collecting garbage once refuses nobody."""
    watched = Health(Metrics())
    async with watched.watch_loop():
        await beats(2, pausing=False)
        await beats(1, pausing=True)
        assert watched.lateness_seconds < PAUSE_SECONDS / 2


async def test_a_loop_that_is_late_again_and_again_says_so() -> None:
    """And is punctual again when it was so once."""
    watched = Health(Metrics())
    async with watched.watch_loop():
        await beats(4, pausing=True)
        assert watched.lateness_seconds > PAUSE_SECONDS / 2
        await beats(4, pausing=False)
        assert watched.lateness_seconds < PAUSE_SECONDS / 2
