"""The relay against a real outbox: at least once, effect once, nobody blocked."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from tests.integration.worker.conftest import PATIENT_NAME, Outbox, Subscriber, deliver
from tests.support.events import LoggedEvents

from telemed.kernel.clock import ManualClock
from telemed.kernel.direct import Direct
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.problems import Unavailable
from telemed.kernel.resources import Resources
from telemed.worker import queries
from telemed.worker.relay import Relay
from telemed.worker.rules import GROUP_BOUND, GROUP_OF, LEASE, MAX_ATTEMPTS


async def test_an_event_reaches_every_subscriber_of_its_type(worker_resources: Resources, outbox: Outbox) -> None:
    """Each is told once, with the payload; others are not told."""
    first, second, other = Subscriber("first"), Subscriber("second"), Subscriber("other", "thing.unmade")
    (event_id,) = await outbox.put("thing.made")
    await deliver(worker_resources, first, second, other)
    assert [[event.id for event in one.told] for one in (first, second, other)] == [[event_id], [event_id], []]
    assert first.told[0].payload == {"thing_id": "x"}
    assert (await outbox.row(event_id))["delivered_at"] == worker_resources.clock.now()


async def test_a_delivered_event_is_not_delivered_again(
    worker_resources: Resources, outbox: Outbox, later: Callable[[], None]
) -> None:
    """Not even after its lease would have run out."""
    subscriber = Subscriber("first")
    await outbox.put("thing.made")
    await deliver(worker_resources, subscriber)
    later()
    await deliver(worker_resources, subscriber)
    assert len(subscriber.told) == 1


async def test_an_event_that_nobody_awaits_is_delivered_trivially(worker_resources: Resources, outbox: Outbox) -> None:
    """It leaves the queue, and can still be looked up."""
    (event_id,) = await outbox.put("thing.ignored")
    await deliver(worker_resources, Subscriber("first"))
    assert (await outbox.row(event_id))["delivered_at"] is not None


async def test_a_failed_event_is_tried_again_later(
    worker_resources: Resources, outbox: Outbox, clock: ManualClock, events: LoggedEvents
) -> None:
    """Not at once, and the note about it holds nothing of the exception's words."""
    subscriber = Subscriber("first", failures=1)
    (event_id,) = await outbox.put("thing.made")
    await deliver(worker_resources, subscriber)
    await deliver(worker_resources, subscriber)
    row = await outbox.row(event_id)
    assert (subscriber.told, row["attempts"], row["last_error"]) == ([], 1, "first: ValueError")
    assert PATIENT_NAME not in str(events.all)
    clock.advance(timedelta(seconds=2))
    await deliver(worker_resources, subscriber)
    assert len(subscriber.told) == 1


async def test_a_subscriber_that_succeeded_is_not_told_again_because_another_failed(
    worker_resources: Resources, outbox: Outbox, later: Callable[[], None]
) -> None:
    """Its note in handled_events keeps the effect single."""
    well, ill = Subscriber("well"), Subscriber("ill", failures=1)
    await outbox.put("thing.made")
    await deliver(worker_resources, ill, well)
    later()
    await deliver(worker_resources, ill, well)
    assert (len(well.told), len(ill.told)) == (1, 1)


async def test_a_poison_event_is_parked_and_blocks_nobody(
    worker_resources: Resources, outbox: Outbox, later: Callable[[], None], events: LoggedEvents
) -> None:
    """After MAX_ATTEMPTS it is left alone, while others pass; requeued, it is tried afresh."""
    poison, healthy = Subscriber("poison", "thing.bad", failures=MAX_ATTEMPTS), Subscriber("healthy")
    (poison_id,) = await outbox.put("thing.bad")
    for _ in range(MAX_ATTEMPTS):
        await outbox.put("thing.made")
        await deliver(worker_resources, poison, healthy)
        later()
    assert len(healthy.told) == MAX_ATTEMPTS
    assert (await outbox.row(poison_id))["parked_at"] is not None
    assert [event["event_id"] for event in events.named("event.parked")] == [str(poison_id)]
    await deliver(worker_resources, poison, healthy)
    assert poison.told == []
    requeued = await worker_resources.db.transact(queries.requeue, poison_id, now=worker_resources.clock.now())
    await deliver(worker_resources, poison, healthy)
    assert (requeued, [event.id for event in poison.told]) == (1, [poison_id])


async def test_an_event_whose_lease_ran_out_is_delivered_by_another_worker(
    worker_resources: Resources, outbox: Outbox, clock: ManualClock
) -> None:
    """A worker that died after claiming loses nothing."""
    (event_id,) = await outbox.put("thing.made")
    now = clock.now()
    await worker_resources.db.transact_directly(
        queries.claim, types=["thing.made"], now=now, leased_until=now + LEASE, limit=10
    )
    subscriber = Subscriber("first")
    await deliver(worker_resources, subscriber)
    assert subscriber.told == []
    clock.advance(LEASE)
    await deliver(worker_resources, subscriber)
    assert [event.id for event in subscriber.told] == [event_id]


async def test_an_event_that_brings_workers_down_is_parked(
    worker_resources: Resources, outbox: Outbox, clock: ManualClock
) -> None:
    """Attempts are counted when claimed, so those that nobody lived to report count too."""
    (event_id,) = await outbox.put("thing.made")
    for _ in range(MAX_ATTEMPTS):
        now = clock.now()
        await worker_resources.db.transact_directly(
            queries.claim, types=["thing.made"], now=now, leased_until=now + LEASE, limit=10
        )
        clock.advance(LEASE)
    subscriber = Subscriber("first")
    await deliver(worker_resources, subscriber)
    assert (subscriber.told, (await outbox.row(event_id))["parked_at"] is not None) == ([], True)


async def test_a_late_failure_does_not_undo_a_delivery(worker_resources: Resources, outbox: Outbox) -> None:
    """A worker that was frozen beyond its lease reports on an attempt that is no longer the last."""
    db, now = worker_resources.db, worker_resources.clock.now()
    (event_id,) = await outbox.put("thing.made")
    (frozen,) = await db.transact_directly(queries.claim, types=["thing.made"], now=now, leased_until=now, limit=1)
    await deliver(worker_resources, Subscriber("first"))
    await db.transact_directly(queries.note_failed, frozen, error="x", available_at=now, parked_at=now)
    row = await outbox.row(event_id)
    assert (row["delivered_at"] is not None, row["parked_at"], row["last_error"]) == (True, None, None)


async def test_a_late_giving_back_does_not_end_anothers_lease(worker_resources: Resources, outbox: Outbox) -> None:
    """Nor does it take the attempt away that the other is making."""
    db, now = worker_resources.db, worker_resources.clock.now()
    (event_id,) = await outbox.put("thing.made")
    (frozen,) = await db.transact_directly(queries.claim, types=["thing.made"], now=now, leased_until=now, limit=1)
    await db.transact_directly(queries.claim, types=["thing.made"], now=now, leased_until=now + LEASE, limit=1)
    await db.transact_directly(queries.note_untried, frozen, available_at=now)
    row = await outbox.row(event_id)
    assert (row["attempts"], row["available_at"]) == (2, now + LEASE)


async def test_slow_events_do_not_hold_up_the_others(worker_resources: Resources, outbox: Outbox) -> None:
    """A type of which more are slow than there are slots, in groups or alone: the others pass through the last one."""
    release = asyncio.Event()

    async def wait(_resources: Resources, _direct: Direct, _told: Sequence[OutboxEvent]) -> None:
        await release.wait()

    quick = Subscriber("quick")
    relay = Relay(worker_resources, [Subscription("slow", "thing.slow", wait), quick.subscription])
    slots = worker_resources.settings.database_pool_size // 2
    await outbox.put(*["thing.slow"] * (2 * slots * GROUP_OF))
    await relay.start_due(worker_resources)
    await outbox.put(*["thing.made"] * 10)
    async with asyncio.timeout(0.8 * GROUP_BOUND.total_seconds()):  # after that, slots are free for a moment
        while len(quick.told) < 10:
            await relay.start_due(worker_resources)
    release.set()
    await relay.drain(timedelta(seconds=5))


async def test_many_relays_share_the_work(worker_resources: Resources, outbox: Outbox) -> None:
    """Four at once deliver each of 200 events exactly once."""
    subscribers = [Subscriber("same") for _ in range(4)]
    ids = await outbox.put(*["thing.made"] * 200)
    await asyncio.gather(*(deliver(worker_resources, subscriber) for subscriber in subscribers))
    told = [event.id for subscriber in subscribers for event in subscriber.told]
    assert sorted(told) == sorted(ids)


async def test_deliveries_end_with_the_grace_period(worker_resources: Resources, outbox: Outbox) -> None:
    """What is not done by then is given up, and stays due for the next worker."""

    async def never_ends(_resources: Resources, _direct: Direct, _told: Sequence[OutboxEvent]) -> None:
        await asyncio.Event().wait()

    (event_id,) = await outbox.put("thing.slow")
    relay = Relay(worker_resources, [Subscription("slow", "thing.slow", never_ends)])
    await relay.start_due(worker_resources)
    async with asyncio.timeout(10):
        await relay.drain(timedelta(seconds=0.1))
    row = await outbox.row(event_id)
    assert (row["delivered_at"], row["parked_at"], row["attempts"]) == (None, None, 1)


@pytest.mark.parametrize("failure", [Unavailable(), RuntimeError("x"), KeyError("y")])
async def test_any_failure_of_a_subscriber_is_survived(
    worker_resources: Resources, outbox: Outbox, failure: Exception
) -> None:
    """The relay notes the class of what was raised."""

    async def fail(_resources: Resources, _direct: Direct, _told: Sequence[OutboxEvent]) -> None:
        raise failure

    (event_id,) = await outbox.put("thing.made")
    relay = Relay(worker_resources, [Subscription("ill", "thing.made", fail)])
    await relay.start_due(worker_resources)
    await relay.drain(timedelta(seconds=5))
    assert (await outbox.row(event_id))["last_error"] == f"ill: {type(failure).__name__}"
