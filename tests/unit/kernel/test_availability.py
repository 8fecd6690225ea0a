"""When a server is left alone, and when it is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.events import LoggedEvents
from tests.support.waiting import until

from telemed.kernel.background import in_background
from telemed.kernel.problems import Unavailable
from telemed.kernel.replication.availability import OPENS_AFTER, Availability
from telemed.kernel.telemetry.metrics import Metrics


class Server:
    """What is looked after: well, ill or silent."""

    def __init__(self) -> None:
        self.state = "well"
        self.looks = 0
        self.recoveries = 0

    async def look(self) -> bool:
        self.looks += 1
        if self.state == "silent":
            await asyncio.sleep(3600)
        if self.state == "refusing":
            raise Unavailable
        if self.state == "misunderstood":
            raise LookupError
        return self.state == "well"

    async def recovered(self) -> None:
        self.recoveries += 1


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def availability(server: Server, metrics: Metrics) -> Availability:
    return Availability("primary", metrics=metrics, recovered=server.recovered)


@asynccontextmanager
async def looking(availability: Availability, server: Server) -> AsyncIterator[None]:
    async with in_background(availability.look_out(server.look)):
        await until(lambda: server.looks > 0)
        yield


@pytest.mark.parametrize("state", ["silent", "refusing", "standby"])
async def test_looks_find_an_outage_without_any_request(
    availability: Availability, server: Server, metrics: Metrics, state: str
) -> None:
    """Frozen, gone, or demoted: a standby answers every look, and is no primary."""
    server.state = state
    async with looking(availability, server):
        await until(lambda: availability.is_down)
        assert metrics.database_breaker_open.labels("primary")._value.get() == 1
        server.state = "well"
        await until(lambda: not availability.is_down)
        assert server.recoveries == 1, "old connections may lead to a former primary"
        assert metrics.database_breaker_open.labels("primary")._value.get() == 0


async def test_failed_requests_are_looked_into_at_once(availability: Availability, server: Server) -> None:
    """A pooler that was restarted fails a burst of requests and is well again: that is no outage of a second."""
    async with looking(availability, server):
        looks = server.looks
        for _ in range(OPENS_AFTER):
            availability.failed()
        assert availability.is_down
        await until(lambda: not availability.is_down, within_seconds=0.7)
        assert server.looks > looks


async def test_answers_between_failures_keep_it_up(availability: Availability, server: Server) -> None:
    """One broken connection now and then is everyday life."""
    async with looking(availability, server):
        for _ in range(3 * OPENS_AFTER):
            availability.failed()
            availability.answered()
        assert not availability.is_down


async def test_requests_do_not_end_an_outage(availability: Availability, server: Server) -> None:
    """An answer that was under way when the server died says nothing about now."""
    async with looking(availability, server):
        server.state = "refusing"
        for _ in range(OPENS_AFTER):
            availability.failed()
        availability.answered()
        assert availability.is_down


async def test_without_a_look_out_nothing_is_left_alone(availability: Availability) -> None:
    """Commands that run once have nobody who would end the outage."""
    for _ in range(10 * OPENS_AFTER):
        availability.failed()
    assert not availability.is_down


async def test_a_look_that_went_wrong_itself_changes_nothing(
    availability: Availability, server: Server, events: LoggedEvents
) -> None:
    """It says nothing of the server; the next looks go on."""
    server.state = "misunderstood"
    async with looking(availability, server):
        await until(lambda: server.looks > OPENS_AFTER, within_seconds=20)
        assert not availability.is_down
        server.state = "refusing"
        await until(lambda: availability.is_down)
    assert events.named("look.failed")
