"""An outbox of one's own: a relay takes whatever is due."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.support.databases import TestDatabase

from telemed.kernel.acts import Act
from telemed.kernel.clock import ManualClock
from telemed.kernel.direct import Direct
from telemed.kernel.ids import uuid7
from telemed.kernel.outbox import Event, OutboxEvent, Subscription, append_events
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings
from telemed.worker.relay import Relay

PATIENT_NAME = "Asha Rao"


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database that no other test's events are in."""
    return fresh_database


@pytest.fixture
async def worker_resources(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """The resources of a worker process: the jobs' role, the test's clock."""
    async with open_resources(
        settings, constraint_problems={}, clock=clock, database=settings.worker_database
    ) as opened:
        yield opened


class Outbox:
    """Puts events into the outbox and looks at what became of them."""

    def __init__(self, resources: Resources, owner: asyncpg.Connection) -> None:
        self._resources = resources
        self._owner = owner

    async def put(self, *types: str) -> list[UUID]:
        """Commit one event of each type, as an operation would; gives their ids."""
        events = [Event(type=kind, about=uuid7(), version=1, payload={"thing_id": "x"}) for kind in types]
        act = Act(now=self._resources.clock.now())
        await self._resources.db.transact(append_events, act, *events)
        return [event.id for event in events]

    async def row(self, event_id: UUID) -> asyncpg.Record:
        """Give the event as it stands in the table."""
        row = await self._owner.fetchrow("SELECT * FROM platform.outbox WHERE id = $1", event_id)
        assert row is not None
        return row


class Subscriber:
    """Notes what it is told, and fails as often as the test wants."""

    def __init__(self, name: str, event_type: str = "thing.made", failures: int = 0) -> None:
        self.groups: list[list[OutboxEvent]] = []
        self.failures = failures
        self.subscription = Subscription(name, event_type, self.handle)

    @property
    def told(self) -> list[OutboxEvent]:
        """Give every event that it was told of."""
        return [event for group in self.groups for event in group]

    async def handle(self, _resources: Resources, _direct: Direct, told: Sequence[OutboxEvent]) -> None:
        """Be told."""
        if self.failures > 0:
            self.failures -= 1
            raise ValueError(f"cannot reach {PATIENT_NAME}")
        self.groups.append(list(told))


async def deliver(resources: Resources, *subscribers: Subscriber) -> None:
    """Run one relay until nothing is due."""
    relay = Relay(resources, [subscriber.subscription for subscriber in subscribers])
    while await relay.start_due(resources):
        pass
    await relay.drain(timedelta(seconds=20))


@pytest.fixture
def outbox(worker_resources: Resources, owner: asyncpg.Connection) -> Outbox:
    """The outbox of this test."""
    return Outbox(worker_resources, owner)


@pytest.fixture
def later(clock: ManualClock) -> Callable[[], None]:
    """Moves the clock beyond every pause and lease."""
    return lambda: clock.advance(timedelta(hours=1))
