"""Delivers the outbox's events to their subscribers: at least once, with effect once, in no promised order.

An event is leased in one short transaction and delivered outside of it, so a slow or poison event holds no lock and
blocks nobody. A worker that dies leaves its leases behind; they run out, and another delivers.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.jobs import Job
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.context import begin_trace, current_trace
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.spans import Attributes, Kind
from telemed.worker import queries
from telemed.worker.loops import cut_short, described
from telemed.worker.rules import DELIVERY_BOUND, LEASE, MAX_ATTEMPTS, is_worn_out, retry_pause

log = get_logger("outbox")

# How often an empty outbox is looked at. Polled, because LISTEN does not work through a pooler in transaction mode.
POLL_EVERY = timedelta(seconds=0.5)
_UNAWAITED_AT_ONCE = 500
# Ten times what a delivery takes; when none ends for so long, those that run are slow.
_STALLED = timedelta(milliseconds=50)


class Relay:
    """One worker's deliveries. Several workers share the outbox without knowing of each other."""

    def __init__(self, resources: Resources, subscriptions: Sequence[Subscription]) -> None:
        self._resources = resources
        self._subscriptions: defaultdict[str, list[Subscription]] = defaultdict(list)
        for subscription in subscriptions:
            self._subscriptions[subscription.event_type].append(subscription)
        self._running: set[asyncio.Task[None]] = set()
        # Half of the pool: the other jobs need connections too, and waiting for one is no reason to fail an event.
        self._slots = max(1, resources.settings.database_pool_size // 2)

    def job(self) -> Job:
        """Give the job that starts deliveries; end with `drain`."""
        return Job("outbox-relay", POLL_EVERY, self.start_due)

    async def start_due(self, _resources: Resources) -> int:
        """Start to deliver what is due, as far as there are free slots; returns how many events were taken."""
        now, types = self._resources.clock.now(), list(self._subscriptions)
        db = self._resources.db
        noted = await db.transact(queries.note_unawaited, types=types, now=now, limit=_UNAWAITED_AT_ONCE)
        self._count("delivered", noted)
        claimed: list[OutboxEvent] = []
        free = await self._free_slots()
        if free and types:
            now = self._resources.clock.now()
            claimed = await db.transact(queries.claim, types=types, now=now, leased_until=now + LEASE, limit=free)
        for event in claimed:
            task = asyncio.create_task(self._deliver(event))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return noted + len(claimed)

    async def drain(self, grace: timedelta) -> None:
        """Let running deliveries end; after *grace* give them up, their leases run out by themselves."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace.total_seconds())
        await cut_short(self._running)

    async def _free_slots(self) -> int:
        """Wait until half of the slots are free, so that a backlog is not claimed one by one.

        But not for deliveries that do not end: slow events may fill that half, and the quick ones take the rest.
        """
        while len(self._running) > self._slots // 2:
            ended, _ = await asyncio.wait(
                self._running, timeout=_STALLED.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
            if not ended:
                break
        return self._slots - len(self._running)

    async def _deliver(self, event: OutboxEvent) -> None:
        trace = begin_trace(traceparent=event.traceparent, request_id=None)
        current_trace.set(trace)  # the task has a context of its own, so this ends with it
        attributes: Attributes = {
            "messaging.system": "telemed",
            "messaging.operation.type": "process",
            "messaging.destination.name": event.type,
            "messaging.message.id": str(event.id),
            "telemed.attempt": event.attempts,
        }
        with self._resources.tracing.unit(trace, f"process {event.type}", Kind.CONSUMER, attributes) as done:
            done.error = await self._attempt(event)

    async def _attempt(self, event: OutboxEvent) -> str | None:
        """Tell the subscribers; says what failed, if something did."""
        if event.attempts > MAX_ATTEMPTS:
            # Its lease ran out each time: perhaps it is what brings the workers down. It is not given another one.
            await self._give_back(event, f"no worker lived to report on {MAX_ATTEMPTS} attempts")
            return "worn_out"
        failures: list[str] = []
        try:
            async with asyncio.timeout(DELIVERY_BOUND.total_seconds()):
                *others, last = self._subscriptions[event.type]
                for subscription in others:
                    failures += await self._tell(subscription, event)
                failures += await self._tell(last, event, settles=not failures)
        except TimeoutError:
            failures.append(f"not done within {DELIVERY_BOUND.total_seconds():.0f} seconds")
        if failures:
            await self._give_back(event, "; ".join(failures))
            return "not_delivered"
        self._count("delivered")
        delay = (self._resources.clock.now() - event.occurred_at).total_seconds()
        self._resources.metrics.outbox_delay.observe(max(0.0, delay))  # two machines' clocks may differ
        return None

    async def _tell(self, subscription: Subscription, event: OutboxEvent, *, settles: bool = False) -> list[str]:
        """Let one subscriber have the event; says what went wrong. A failure does not keep it from the others.

        If that *settles* the event, the same transaction notes it as delivered: most events have one subscriber, and
        a second transaction would cost as much again.
        """

        async def once(session: AsyncSession) -> None:
            now = self._resources.clock.now()
            name = subscription.subscriber
            if await queries.note_handled(session, subscriber=name, event_id=event.id, now=now):
                await subscription.handle(self._resources, session, event)
            if settles:
                await queries.note_delivered(session, event, now=now)

        try:
            await self._resources.db.transact(once)
        except Exception as error:  # noqa: BLE001 - whatever a subscriber raises, the event is tried again or parked
            log.warning("event.failed", event_id=str(event.id), subscriber=subscription.subscriber, **described(error))
            # The class and nothing of the exception's text, which may hold patient data.
            return [f"{subscription.subscriber}: {type(error).__name__}"]
        return []

    async def _give_back(self, event: OutboxEvent, failure: str) -> None:
        now = self._resources.clock.now()
        parked_at = now if is_worn_out(event.attempts) else None
        pause = retry_pause(event.attempts, chance=random.random())  # noqa: S311 - not a secret
        self._count("failed")
        try:
            await self._resources.db.transact(
                queries.note_failed, event, error=failure, available_at=now + pause, parked_at=parked_at
            )
        except Exception as error:  # noqa: BLE001 - the lease runs out and the event comes again
            log.warning("event.unsettled", event_id=str(event.id), **described(error))
            return
        if parked_at is not None:
            self._count("parked")
            log.error("event.parked", event_id=str(event.id), event_type=event.type, last_error=failure)

    def _count(self, outcome: str, number: int = 1) -> None:
        self._resources.metrics.events.labels(outcome).inc(number)
