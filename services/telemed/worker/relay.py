"""Claims the outbox's events and has them delivered: at least once, with effect once, in no promised order.

Events are leased in one short transaction and delivered outside of it, so slow or poison events hold no lock and block
nobody. Those of one type that are claimed together are delivered as a group; who failed before, or was with a worker
that died, is delivered alone. A worker that dies leaves its leases behind; they run out, and another delivers.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta

from telemed.kernel.direct import Direct
from telemed.kernel.jobs import Job
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources
from telemed.worker import queries
from telemed.worker.delivery import deliver_alone, deliver_together
from telemed.worker.loops import cut_short
from telemed.worker.rules import GROUP_OF, LEASE

# How often an empty outbox is looked at. Polled, because LISTEN does not work through a pooler in transaction mode.
POLL_EVERY = timedelta(seconds=0.5)
# How long it is left alone once everything was taken: while events come, those of so long are one group. The first
# event after a while does not wait for it.
_GATHER = timedelta(seconds=0.1)
_UNAWAITED_AT_ONCE = 500
# Several times what a group takes; when no delivery ends for so long, those that run are slow.
_STALLED = timedelta(milliseconds=50)


class Relay:
    """One worker's deliveries. Several workers share the outbox without knowing of each other."""

    def __init__(self, resources: Resources, subscriptions: Sequence[Subscription]) -> None:
        self._resources = resources
        self._subscriptions: defaultdict[str, list[Subscription]] = defaultdict(list)
        for subscription in subscriptions:
            self._subscriptions[subscription.event_type].append(subscription)
        # The type of whose events each of them is; some of them wait for a slot.
        self._running: dict[asyncio.Task[None], str] = {}
        # Half of the pool: the other jobs need connections too, and waiting for one is no reason to fail an event.
        self._slots = max(1, resources.settings.database_pool_size // 2)
        # All but one: no type, however slow, keeps the others from being delivered.
        self._slots_of_type = max(1, self._slots - 1)
        self._free = asyncio.Semaphore(self._slots)
        self._free_of_type = {event_type: asyncio.Semaphore(self._slots_of_type) for event_type in self._subscriptions}
        self._gathers_until = 0.0

    def job(self) -> Job:
        """Give the job that starts deliveries; end with `drain`."""
        return Job("outbox-relay", POLL_EVERY, self.start_due)

    async def start_due(self, _resources: Resources) -> int:
        """Start to deliver what is due, as far as there are free slots; returns how many events were taken.

        Where nothing was, because slots are all in use, it waits for one of them and returns one: more may be due.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._gathers_until - loop.time()))
        limit, types = GROUP_OF * await self._free_slots(), self._open_types()
        noted, claimed = await self._resources.db.transact_directly(self._take, types, limit)
        self._resources.metrics.events.labels("delivered").inc(noted)
        for group in _groups(claimed):
            self._start(group)
        saw_all = limit > 0 and len(types) == len(self._subscriptions)
        if saw_all and len(claimed) < limit:
            self._gathers_until = loop.time() + _GATHER.total_seconds()
        if saw_all or claimed:
            return noted + len(claimed)
        if self._running:
            await self._one_to_end(POLL_EVERY)
        return 1

    async def drain(self, grace: timedelta) -> None:
        """Let running deliveries end; after *grace* give them up, their leases run out by themselves."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace.total_seconds()
        while self._running and loop.time() < deadline:  # a group that fails starts others
            await asyncio.wait(self._running, timeout=deadline - loop.time())
        while self._running:
            await cut_short(self._running)

    async def _free_slots(self) -> int:
        """Wait until half of the slots are free, so that a backlog is not claimed in small groups.

        But not for deliveries that do not end: slow events may fill that half, and the quick ones take the rest.
        """
        while (used := self._used_slots()) > self._slots // 2:
            if not await self._one_to_end(_STALLED):
                break
        return self._slots - used

    async def _one_to_end(self, patience: timedelta) -> bool:
        ended, _ = await asyncio.wait(
            self._running, timeout=patience.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
        return bool(ended)

    def _used_slots(self) -> int:
        by_type = Counter(self._running.values()).values()
        return min(self._slots, sum(min(running, self._slots_of_type) for running in by_type))

    def _open_types(self) -> list[str]:
        """Give the types that have a slot left."""
        running = Counter(self._running.values())
        return [event_type for event_type in self._subscriptions if running[event_type] < self._slots_of_type]

    async def _take(self, direct: Direct, types: Sequence[str], limit: int) -> tuple[int, list[OutboxEvent]]:
        """Claim events of these types, and note those that nobody awaits as delivered; says how many these were."""
        now, awaited = self._resources.clock.now(), list(self._subscriptions)
        noted = await queries.note_unawaited(direct, types=awaited, now=now, limit=_UNAWAITED_AT_ONCE)
        if not limit or not types:
            return noted, []
        return noted, await queries.claim(direct, types=types, now=now, leased_until=now + LEASE, limit=limit)

    def _start(self, events: Sequence[OutboxEvent]) -> None:
        task = asyncio.create_task(self._deliver(events))
        self._running[task] = events[0].type
        task.add_done_callback(self._running.pop)

    async def _deliver(self, events: Sequence[OutboxEvent]) -> None:
        event_type = events[0].type
        subscriptions = self._subscriptions[event_type]
        async with self._free_of_type[event_type], self._free:
            if len(events) == 1:
                await deliver_alone(self._resources, subscriptions, events[0])
                return
            if await deliver_together(self._resources, subscriptions, events):
                return
        for event in events:
            self._start([event])


def _groups(events: Sequence[OutboxEvent]) -> list[list[OutboxEvent]]:
    """Give what is delivered together: of one type, at its first attempt; the others alone, and after them."""
    fresh: defaultdict[str, list[OutboxEvent]] = defaultdict(list)
    alone = []
    for event in events:
        if event.attempts == 1:
            fresh[event.type].append(event)
        else:
            alone.append([event])
    whole = fresh.values()
    return [some[begin : begin + GROUP_OF] for some in whole for begin in range(0, len(some), GROUP_OF)] + alone
