"""Events that are claimed together are delivered together, and one that fails costs the others a try and no more."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.worker.conftest import Outbox, Subscriber, deliver
from tests.support.events import LoggedEvents

from telemed.kernel.clock import ManualClock
from telemed.kernel.direct import Direct
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings
from telemed.worker import delivery, relay
from telemed.worker.relay import Relay
from telemed.worker.rules import GROUP_OF, LEASE, MAX_ATTEMPTS

Told = Sequence[OutboxEvent]


class Judging(Subscriber):
    """Is told what a rule of the test lets pass."""

    def __init__(self, judge: Callable[[Told], Awaitable[None]], name: str = "judging") -> None:
        super().__init__(name)
        self.judge = judge

    async def handle(self, resources: Resources, direct: Direct, told: Told) -> None:
        """Ask the rule, which raises or waits, and be told."""
        await self.judge(told)
        await super().handle(resources, direct, told)


async def refuse_groups(told: Told) -> None:
    """Fail for several, and for none of them alone."""
    if len(told) > 1:
        raise ValueError(len(told))


def refusing(poison: UUID) -> Callable[[Told], Awaitable[None]]:
    async def refuse(told: Told) -> None:
        if poison in ids_of(told):
            raise ValueError(poison)

    return refuse


def ids_of(told: Told) -> list[UUID]:
    return [event.id for event in told]


def sizes_of(subscriber: Subscriber) -> list[int]:
    return sorted(len(group) for group in subscriber.groups)


def counted(resources: Resources, outcome: str) -> float:
    value: float = resources.metrics.events.labels(outcome)._value.get()
    return value


async def states(outbox: Outbox, ids: Sequence[UUID]) -> Counter[tuple[bool, int]]:
    """Count the events by whether they are delivered and how often they were tried."""
    rows = [await outbox.row(event_id) for event_id in ids]
    return Counter((row["delivered_at"] is not None, row["attempts"]) for row in rows)


def spans_in(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in directory.glob("*.jsonl") for line in file.read_text().splitlines()]


class TestTogether:
    """Nothing fails."""

    async def test_a_group_costs_one_transaction_for_each_subscriber(
        self, worker_resources: Resources, outbox: Outbox
    ) -> None:
        """Of 50 events with two subscribers: one claims, two tell, and the second of these settles them."""
        first, second = Subscriber("first"), Subscriber("second")
        ids = await outbox.put(*["thing.made"] * 50)
        before = self.committed(worker_resources)
        relay = Relay(worker_resources, [first.subscription, second.subscription])
        assert await relay.start_due(worker_resources) == 50
        await relay.drain(timedelta(seconds=20))
        assert self.committed(worker_resources) - before == 3
        assert (sizes_of(first), sizes_of(second)) == ([50], [50])
        assert await states(outbox, ids) == {(True, 1): 50}
        assert counted(worker_resources, "delivered") == 50

    def committed(self, resources: Resources) -> float:
        value: float = resources.metrics.transactions.labels("committed")._value.get()
        return value

    async def test_groups_are_bounded(self, worker_resources: Resources, outbox: Outbox) -> None:
        """As a transaction that is never long."""
        subscriber = Subscriber("first")
        await outbox.put(*["thing.made"] * (2 * GROUP_OF + 20))
        await deliver(worker_resources, subscriber)
        assert sizes_of(subscriber) == [20, GROUP_OF, GROUP_OF]

    async def test_a_group_is_of_one_type(self, worker_resources: Resources, outbox: Outbox) -> None:
        """So its subscribers are the same."""
        made, unmade = Subscriber("made"), Subscriber("unmade", "thing.unmade")
        await outbox.put(*["thing.made", "thing.unmade"] * 10)
        await deliver(worker_resources, made, unmade)
        assert (sizes_of(made), sizes_of(unmade)) == ([10], [10])
        assert {event.type for event in made.told} == {"thing.made"}

    async def test_what_was_handled_is_not_handed_over_again(
        self, worker_resources: Resources, outbox: Outbox, owner: asyncpg.Connection
    ) -> None:
        """The others of the group are, and all of them are settled."""
        subscriber = Subscriber("first")
        ids = await outbox.put(*["thing.made"] * 5)
        await owner.execute("INSERT INTO platform.handled_events VALUES ('first', $1, now())", ids[2])
        await deliver(worker_resources, subscriber)
        assert sorted(ids_of(subscriber.told)) == sorted(set(ids) - {ids[2]})
        assert await states(outbox, ids) == {(True, 1): 5}

    async def test_nobody_is_told_of_nothing(
        self, worker_resources: Resources, outbox: Outbox, owner: asyncpg.Connection
    ) -> None:
        """A group that the subscriber has had already is settled without it."""
        subscriber = Subscriber("first")
        ids = await outbox.put(*["thing.made"] * 3)
        for event_id in ids:
            await owner.execute("INSERT INTO platform.handled_events VALUES ('first', $1, now())", event_id)
        await deliver(worker_resources, subscriber)
        assert subscriber.groups == []
        assert await states(outbox, ids) == {(True, 1): 3}

    async def test_an_event_that_was_written_twice_is_told_once(
        self, worker_resources: Resources, outbox: Outbox, owner: asyncpg.Connection, clock: ManualClock
    ) -> None:
        """Its id is the same, its instant is not; both rows are settled."""
        subscriber = Subscriber("first")
        (event_id, _) = await outbox.put("thing.made", "thing.made")
        await owner.execute(
            """
            INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at)
            SELECT id, type, payload, traceparent, occurred_at - interval '1 second', available_at
            FROM platform.outbox WHERE id = $1
            """,
            event_id,
        )
        await deliver(worker_resources, subscriber)
        assert ids_of(subscriber.told).count(event_id) == 1
        assert await owner.fetchval("SELECT count(*) FROM platform.outbox WHERE delivered_at = $1", clock.now()) == 3

    async def test_the_oldest_is_told_first(
        self, worker_resources: Resources, outbox: Outbox, clock: ManualClock
    ) -> None:
        """No promise between groups, but within one nobody has to sort."""
        subscriber = Subscriber("first")
        for _ in range(5):
            await outbox.put("thing.made", "thing.made")
            clock.advance(timedelta(seconds=1))
        await deliver(worker_resources, subscriber)
        (group,) = subscriber.groups
        assert group == sorted(group, key=lambda event: event.occurred_at)


class TestFailures:
    """A group fails; its events are tried alone."""

    async def test_one_poison_event_fails_alone(
        self, worker_resources: Resources, outbox: Outbox, later: Callable[[], None], events: LoggedEvents
    ) -> None:
        """Twenty good ones of its type are delivered at their first attempt; it is parked in the end."""
        *good, poison = await outbox.put(*["thing.made"] * 21)
        subscriber = Judging(refusing(poison))
        await deliver(worker_resources, subscriber)
        assert sorted(ids_of(subscriber.told)) == sorted(good)
        assert await states(outbox, good) == {(True, 1): 20}
        assert (counted(worker_resources, "delivered"), counted(worker_resources, "failed")) == (20, 1)
        for _ in range(MAX_ATTEMPTS):
            later()
            await deliver(worker_resources, subscriber)
        row = await outbox.row(poison)
        assert (row["attempts"], row["last_error"]) == (MAX_ATTEMPTS, "judging: ValueError")
        assert row["parked_at"] is not None
        assert counted(worker_resources, "parked") == 1
        assert {event["event_id"] for event in events.named("event.failed")} == {str(poison)}

    async def test_a_group_that_fails_is_no_attempt(
        self, worker_resources: Resources, outbox: Outbox, events: LoggedEvents
    ) -> None:
        """Where each alone succeeds, nothing has failed; a worker that ends meanwhile waits for them."""
        subscriber = Judging(refuse_groups)
        ids = await outbox.put(*["thing.made"] * 10)
        tested = Relay(worker_resources, [subscriber.subscription])
        await tested.start_due(worker_resources)
        await tested.drain(timedelta(seconds=20))
        assert sizes_of(subscriber) == [1] * 10
        assert await states(outbox, ids) == {(True, 1): 10}
        assert counted(worker_resources, "failed") == 0
        (failed,) = events.named("group.failed")
        assert (failed["size"], failed["error"]) == (10, "ValueError")
        assert events.named("event.failed") == []

    async def test_a_group_that_takes_too_long_is_given_up(
        self, worker_resources: Resources, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, events: LoggedEvents
    ) -> None:
        """As one that fails; nothing that it had begun stays."""
        monkeypatch.setattr(delivery, "GROUP_BOUND", timedelta(seconds=0.2))

        async def hang(told: Told) -> None:
            if len(told) > 1:
                await asyncio.Event().wait()

        subscriber = Judging(hang)
        ids = await outbox.put(*["thing.made"] * 10)
        async with asyncio.timeout(15):
            await deliver(worker_resources, subscriber)
        assert await states(outbox, ids) == {(True, 1): 10}
        assert sizes_of(subscriber) == [1] * 10
        assert [event["error"] for event in events.named("group.failed")] == ["TimeoutError"]

    async def test_an_event_that_hangs_holds_up_its_group_no_longer_than_that(
        self, worker_resources: Resources, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others are delivered while it is being tried alone."""
        monkeypatch.setattr(delivery, "GROUP_BOUND", timedelta(seconds=0.2))
        poison, *good = await outbox.put(*["thing.made"] * 21)
        release, are_told = asyncio.Event(), asyncio.Event()

        async def hang(told: Told) -> None:
            if poison in ids_of(told):
                await release.wait()
            elif len(subscriber.told) == len(good) - 1:
                are_told.set()

        subscriber = Judging(hang)
        relay = Relay(worker_resources, [subscriber.subscription])
        await relay.start_due(worker_resources)
        async with asyncio.timeout(15):
            await are_told.wait()
        release.set()
        await relay.drain(timedelta(seconds=5))

    async def test_a_subscriber_that_succeeded_is_not_told_again(
        self, worker_resources: Resources, outbox: Outbox
    ) -> None:
        """Its notes of the whole group keep the effect single when the next subscriber fails."""
        well, ill = Subscriber("well"), Judging(refuse_groups, "ill")
        await outbox.put(*["thing.made"] * 10)
        await deliver(worker_resources, well, ill)
        assert (sizes_of(well), sizes_of(ill)) == ([10], [1] * 10)

    async def test_what_failed_before_is_tried_alone(
        self, worker_resources: Resources, outbox: Outbox, later: Callable[[], None]
    ) -> None:
        """And takes no fresh one with it."""
        subscriber = Subscriber("first", failures=1 + 4)  # the group and each of its events
        await outbox.put(*["thing.made"] * 4)
        await deliver(worker_resources, subscriber)
        assert subscriber.groups == []
        later()
        await outbox.put(*["thing.made"] * 6)
        await deliver(worker_resources, subscriber)
        assert sizes_of(subscriber) == [1, 1, 1, 1, 6]

    async def test_what_was_with_a_worker_that_died_is_tried_alone(
        self, worker_resources: Resources, outbox: Outbox, owner: asyncpg.Connection
    ) -> None:
        """One of them may have killed it, and is to kill the next one alone."""
        await outbox.put(*["thing.made"] * 5)
        await owner.execute("UPDATE platform.outbox SET attempts = 1")  # as a claim leaves it whose lease ran out
        subscriber = Subscriber("first")
        await deliver(worker_resources, subscriber)
        assert sizes_of(subscriber) == [1] * 5

    async def test_for_whom_no_time_is_left_is_given_back_untried(
        self, worker_resources: Resources, outbox: Outbox, clock: ManualClock
    ) -> None:
        """An attempt that would outlive the lease is not begun, and is not counted."""

        async def last_until_the_lease_is_nearly_over(told: Told) -> None:
            if clock.now() == begun:
                clock.advance(LEASE - timedelta(seconds=20))
                raise ValueError(len(told))

        subscriber, begun = Judging(last_until_the_lease_is_nearly_over), clock.now()
        relay = Relay(worker_resources, [subscriber.subscription])
        ids = await outbox.put(*["thing.made"] * 5)
        await relay.start_due(worker_resources)
        await relay.drain(timedelta(seconds=20))
        assert await states(outbox, ids) == {(False, 0): 5}
        assert {(await outbox.row(event_id))["available_at"] for event_id in ids} == {clock.now()}
        assert counted(worker_resources, "failed") == 0
        await deliver(worker_resources, subscriber)
        assert await states(outbox, ids) == {(True, 1): 5}

    async def test_a_group_that_waited_too_long_is_given_back_untried(
        self, worker_resources: Resources, outbox: Outbox, clock: ManualClock
    ) -> None:
        """Another worker may have its events at any moment."""
        subscriber = Subscriber("first")
        tested = Relay(worker_resources, [subscriber.subscription])
        ids = await outbox.put(*["thing.made"] * 5)
        await tested.start_due(worker_resources)
        clock.advance(LEASE - timedelta(seconds=10))  # before any delivery has had its turn
        await tested.drain(timedelta(seconds=20))
        assert subscriber.groups == []
        assert await states(outbox, ids) == {(False, 0): 5}


class TestPace:
    """How much is done at once, and when."""

    async def test_deliveries_share_the_slots(self, worker_resources: Resources, outbox: Outbox) -> None:
        """However many types and groups there are, half of the pool is used at most."""
        half = worker_resources.settings.database_pool_size // 2
        running = most = 0
        half_in_use = asyncio.Event()

        async def handle(_resources: Resources, _direct: Direct, _told: Told) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running >= half:
                half_in_use.set()
            await half_in_use.wait()
            await asyncio.sleep(0.02)  # the time for one too many to begin
            running -= 1

        types = [f"thing.{number}" for number in range(20)]
        await outbox.put(*types * 3)
        relay = Relay(worker_resources, [Subscription("first", event_type, handle) for event_type in types])
        while await relay.start_due(worker_resources):
            pass
        await relay.drain(timedelta(seconds=20))
        assert most == half

    async def test_the_first_event_after_a_while_is_delivered_at_once(
        self, worker_resources: Resources, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It does not wait for others to come."""
        gather = timedelta(seconds=60)
        monkeypatch.setattr(relay, "_GATHER", gather)
        subscriber = Subscriber("first")
        tested = Relay(worker_resources, [subscriber.subscription])
        await tested.start_due(worker_resources)
        tested._gathers_until -= gather.total_seconds()  # the while
        await outbox.put("thing.made")
        async with asyncio.timeout(20):
            await tested.start_due(worker_resources)
        await tested.drain(timedelta(seconds=5))
        assert len(subscriber.told) == 1

    async def test_while_events_come_they_are_gathered(
        self, worker_resources: Resources, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that follow one another closely are one group, not one each."""
        monkeypatch.setattr(relay, "_GATHER", timedelta(seconds=1))
        subscriber = Subscriber("first")
        tested = Relay(worker_resources, [subscriber.subscription])
        await tested.start_due(worker_resources)
        begun = time.monotonic()
        next_look = asyncio.create_task(tested.start_due(worker_resources))
        for _ in range(3):
            await outbox.put("thing.made")
        await next_look
        assert time.monotonic() - begun > 0.9
        await tested.drain(timedelta(seconds=5))
        assert sizes_of(subscriber) == [3]

    async def test_a_backlog_waits_for_nothing(
        self,
        worker_resources: Resources,
        outbox: Outbox,
        owner: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What one claim did not reach is claimed by the next one at once."""
        monkeypatch.setattr(relay, "_GATHER", timedelta(seconds=60))
        subscriber = Subscriber("first")
        tested = Relay(worker_resources, [subscriber.subscription])
        slots = worker_resources.settings.database_pool_size // 2
        await outbox.put(*["thing.made"] * (slots * GROUP_OF + 1))
        async with asyncio.timeout(20):
            while await owner.fetchval("SELECT count(*) FROM platform.outbox WHERE attempts = 0"):
                await tested.start_due(worker_resources)
        await tested.drain(timedelta(seconds=5))

    async def test_no_more_is_claimed_than_can_be_delivered(self, worker_resources: Resources, outbox: Outbox) -> None:
        """Of a type whose slots are all in use, the rest is left to other workers."""
        release = asyncio.Event()

        async def wait(_told: Told) -> None:
            await release.wait()

        subscriber = Judging(wait)
        tested = Relay(worker_resources, [subscriber.subscription])
        slots = worker_resources.settings.database_pool_size // 2
        ids = await outbox.put(*["thing.made"] * (2 * slots * GROUP_OF))
        for _ in range(2):
            await tested.start_due(worker_resources)
        assert await states(outbox, ids) == {(False, 1): slots * GROUP_OF, (False, 0): slots * GROUP_OF}
        release.set()
        await tested.drain(timedelta(seconds=20))


async def test_each_event_of_a_group_has_its_span_in_its_own_trace(
    settings: Settings, clock: ManualClock, outbox: Outbox, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """With the statements that it shares with the others; whose trace is not sampled has none."""
    ids = await outbox.put(*["thing.made"] * 3)
    for place, event_id in enumerate(ids[:2], start=1):
        traceparent = f"00-{place:032x}-{place:016x}-01"
        await owner.execute("UPDATE platform.outbox SET traceparent = $2 WHERE id = $1", event_id, traceparent)
    traced = settings.model_copy(update={"trace_directory": tmp_path})
    async with open_resources(
        traced, constraint_problems={}, clock=clock, database=settings.worker_database
    ) as resources:
        await deliver(resources, Subscriber("first"))
    spans = spans_in(tmp_path)
    for place, event_id in enumerate(ids[:2], start=1):
        root, *below = [span for span in spans if span["context"]["trace_id"] == f"0x{place:032x}"]
        assert (root["name"], root["kind"]) == ("process thing.made", "SpanKind.CONSUMER")
        assert root["parent_id"] == f"0x{place:016x}"
        shown: dict[str, Any] = root["attributes"]
        assert shown["messaging.message.id"] == str(event_id)
        assert shown["messaging.batch.message_count"] == 3
        assert {"transaction", "INSERT platform.handled_events", "UPDATE platform.outbox", "COMMIT"} <= {
            span["name"] for span in below
        }
    assert len({span["context"]["trace_id"] for span in spans if span["name"].startswith("process")}) == 2
