"""Freshness: each look at the outbox and at the queue of the audit chain counts as fresh or late."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import asyncpg
import pytest
from tests.integration.worker.conftest import Outbox
from tests.support.settings import make_settings

from telemed.audit.chain.jobs import JOBS, MEASURE_QUEUE
from telemed.kernel.clock import ManualClock
from telemed.kernel.direct import Direct
from telemed.kernel.freshness import FRESH_WITHIN
from telemed.kernel.ids import uuid7
from telemed.kernel.jobs import Job
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.problems import Problem
from telemed.kernel.resources import Resources, open_resources
from telemed.worker.housekeeping import MEASURE_OUTBOX
from telemed.worker.relay import Relay

NOTHING_LISTENS = "postgresql://nobody:nothing@127.0.0.1:1/telemed"
LOOKS = {"outbox": MEASURE_OUTBOX, "audit": MEASURE_QUEUE}


@pytest.fixture
async def cut_off() -> AsyncIterator[Resources]:
    """The resources of a worker that cannot reach the database."""
    async with open_resources(make_settings(), constraint_problems={}, database=NOTHING_LISTENS) as opened:
        yield opened


def counted(resources: Resources, name: str, **labels: str) -> float | None:
    """Give the value that the process shows."""
    return resources.metrics.registry.get_sample_value(name, labels)


def looks(resources: Resources, subject: str) -> tuple[float | None, float | None]:
    """Give how many looks were fresh and how many late; both are shown after the first."""
    name = "telemed_freshness_checks_total"
    fresh, late = (counted(resources, name, subject=subject, result=result) for result in ("fresh", "late"))
    return fresh, late


async def put(subject: str, outbox: Outbox, owner: asyncpg.Connection, clock: ManualClock) -> None:
    """Let one thing wait from now on."""
    if subject == "outbox":
        await outbox.put("thing.made")
        return
    await owner.execute(
        """
        INSERT INTO audit.records
        SELECT $1, $2, NULL, NULL, 'thing.read', 'allowed', 'thing', NULL, NULL, '', '', '', '{}'
        """,
        uuid7(),
        clock.now(),
    )


@pytest.mark.parametrize("subject", LOOKS)
async def test_what_waits_for_too_long_is_late(
    subject: str, worker_resources: Resources, outbox: Outbox, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """Nothing that waits is fresh, half a minute is fresh, and longer is late."""
    job: Job = LOOKS[subject]
    assert await job.run(worker_resources) == 0
    assert looks(worker_resources, subject) == (1, 0)

    await put(subject, outbox, owner, clock)
    clock.advance(FRESH_WITHIN)
    await job.run(worker_resources)
    assert looks(worker_resources, subject) == (2, 0)

    clock.advance(timedelta(microseconds=1))
    await job.run(worker_resources)
    assert looks(worker_resources, subject) == (2, 1)


@pytest.mark.parametrize("subject", LOOKS)
async def test_a_look_that_fails_is_late(subject: str, cut_off: Resources) -> None:
    """An outage must not keep the objective by making it stop counting; and the job is seen to fail."""
    with pytest.raises(Problem):
        await LOOKS[subject].run(cut_off)
    assert looks(cut_off, subject) == (0, 1)


def test_the_audit_service_looks_at_its_queue() -> None:
    """The job runs with the others."""
    assert MEASURE_QUEUE in JOBS


async def test_a_delivery_shows_how_long_the_event_was_on_its_way(
    worker_resources: Resources, outbox: Outbox, clock: ManualClock
) -> None:
    """From its occurrence, failures and pauses included; an event that fails is not on its end yet."""
    fails = True

    async def handle(_resources: Resources, _direct: Direct, _told: Sequence[OutboxEvent]) -> None:
        if fails:
            raise RuntimeError

    relay = Relay(worker_resources, [Subscription("tester", "thing.made", handle)])
    await outbox.put("thing.made")
    await relay.start_due(worker_resources)
    await relay.drain(timedelta(seconds=10))
    assert counted(worker_resources, "telemed_outbox_delivery_delay_seconds_count") == 0

    fails = False
    clock.advance(timedelta(seconds=40))
    await relay.start_due(worker_resources)
    await relay.drain(timedelta(seconds=10))
    assert counted(worker_resources, "telemed_outbox_delivery_delay_seconds_count") == 1
    assert counted(worker_resources, "telemed_outbox_delivery_delay_seconds_sum") == 40
