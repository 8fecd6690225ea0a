"""Tells subscribers of claimed events, a group in one transaction for each subscriber, and notes what became of them.

A group that fails settles nothing: what a subscriber was told with it stands in its notes, and every event is then told
alone, so that one that cannot be delivered costs the others a try and no more.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec

from telemed.kernel.direct import Direct
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.context import Trace, begin_trace, current_trace
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.rendering import Done
from telemed.kernel.telemetry.spans import Attributes, Kind
from telemed.worker import queries
from telemed.worker.loops import described
from telemed.worker.rules import DELIVERY_BOUND, GROUP_BOUND, MAX_ATTEMPTS, has_time, is_worn_out, retry_pause

P = ParamSpec("P")
log = get_logger("outbox")


async def deliver_together(
    resources: Resources, subscriptions: Sequence[Subscription], events: Sequence[OutboxEvent]
) -> bool:
    """Tell every subscriber of events of one type, all at once; False if that failed, and each is to be told alone."""
    if not has_time(GROUP_BOUND, now=resources.clock.now(), leased_until=min(event.available_at for event in events)):
        return False
    # What is logged on the way is of no single event. The task has a context of its own, so this ends with it.
    current_trace.set(begin_trace(traceparent=None, request_id=None))
    units = ((_trace_of(event), Done(_name(event), Kind.CONSUMER, _attributes(event, of=events))) for event in events)
    try:
        with resources.tracing.shared(units):
            async with asyncio.timeout(GROUP_BOUND.total_seconds()):
                for subscription in subscriptions:
                    is_last = subscription is subscriptions[-1]
                    await resources.db.transact_directly(_tell, resources, subscription, events, settles=is_last)
    except Exception as error:  # noqa: BLE001 - whatever a subscriber raises, each event is tried alone
        log.warning("group.failed", event_type=events[0].type, size=len(events), **described(error))
        return False
    _count_delivered(resources, events)
    return True


async def deliver_alone(resources: Resources, subscriptions: Sequence[Subscription], event: OutboxEvent) -> None:
    """Tell every subscriber of the event; if one fails, give it back to be tried again later, or park it."""
    trace = _trace_of(event)
    current_trace.set(trace)
    now = resources.clock.now()
    if not has_time(DELIVERY_BOUND, now=now, leased_until=event.available_at):
        # It waited for its turn until the lease was nearly over, which is no failure of its own.
        await _settle(resources, event, queries.note_untried, available_at=now)
        return
    with resources.tracing.unit(trace, _name(event), Kind.CONSUMER, _attributes(event)) as done:
        done.error = await _attempt(resources, subscriptions, event)


async def _attempt(resources: Resources, subscriptions: Sequence[Subscription], event: OutboxEvent) -> str | None:
    """Tell the subscribers; says what failed, if something did."""
    if event.attempts > MAX_ATTEMPTS:
        # Its lease ran out each time: perhaps it is what brings the workers down. It is not given another one.
        await _give_back(resources, event, f"no worker lived to report on {MAX_ATTEMPTS} attempts")
        return "worn_out"
    failures: list[str] = []
    try:
        async with asyncio.timeout(DELIVERY_BOUND.total_seconds()):
            *others, last = subscriptions
            for subscription in others:
                failures += await _failures_of(resources, subscription, event)
            failures += await _failures_of(resources, last, event, settles=not failures)
    except TimeoutError:
        failures.append(f"not done within {DELIVERY_BOUND.total_seconds():.0f} seconds")
    if failures:
        await _give_back(resources, event, "; ".join(failures))
        return "not_delivered"
    _count_delivered(resources, [event])
    return None


async def _failures_of(
    resources: Resources, subscription: Subscription, event: OutboxEvent, *, settles: bool = False
) -> list[str]:
    """Let one subscriber have the event; says what went wrong. A failure does not keep it from the others."""
    try:
        await resources.db.transact_directly(_tell, resources, subscription, [event], settles=settles)
    except Exception as error:  # noqa: BLE001 - whatever a subscriber raises, the event is tried again or parked
        log.warning("event.failed", event_id=str(event.id), subscriber=subscription.subscriber, **described(error))
        # The class and nothing of the exception's text, which may hold patient data.
        return [f"{subscription.subscriber}: {type(error).__name__}"]
    return []


async def _tell(
    direct: Direct, resources: Resources, subscription: Subscription, events: Sequence[OutboxEvent], *, settles: bool
) -> None:
    """Let one subscriber have those of the events that it has not had.

    If that *settles* the events, the same transaction notes them as delivered: most events have one subscriber, and a
    second transaction would cost as much again.
    """
    now = resources.clock.now()
    # By id: the same event may have been written twice, at two instants.
    told = {event.id: event for event in sorted(events, key=lambda event: event.occurred_at)}
    news = await queries.note_handled(direct, subscriber=subscription.subscriber, event_ids=list(told), now=now)
    if news:
        await subscription.handle(resources, direct, [event for event in told.values() if event.id in news])
    if settles:
        await queries.note_delivered(direct, events, now=now)


async def _give_back(resources: Resources, event: OutboxEvent, failure: str) -> None:
    now = resources.clock.now()
    parked_at = now if is_worn_out(event.attempts) else None
    pause = retry_pause(event.attempts, chance=random.random())  # noqa: S311 - not a secret
    resources.metrics.events.labels("failed").inc()
    is_settled = await _settle(
        resources, event, queries.note_failed, error=failure, available_at=now + pause, parked_at=parked_at
    )
    if is_settled and parked_at is not None:
        resources.metrics.events.labels("parked").inc()
        log.error("event.parked", event_id=str(event.id), event_type=event.type, last_error=failure)


async def _settle(
    resources: Resources,
    event: OutboxEvent,
    note: Callable[Concatenate[Direct, OutboxEvent, P], Awaitable[None]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> bool:
    """Note what became of the event, if that is possible."""
    try:
        await resources.db.transact_directly(note, event, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the lease runs out and the event comes again
        log.warning("event.unsettled", event_id=str(event.id), **described(error))
        return False
    return True


def _count_delivered(resources: Resources, events: Sequence[OutboxEvent]) -> None:
    resources.metrics.events.labels("delivered").inc(len(events))
    now = resources.clock.now()
    for event in events:
        delay = (now - event.occurred_at).total_seconds()
        resources.metrics.outbox_delay.observe(max(0.0, delay))  # two machines' clocks may differ


def _trace_of(event: OutboxEvent) -> Trace:
    return begin_trace(traceparent=event.traceparent, request_id=None)


def _name(event: OutboxEvent) -> str:
    return f"process {event.type}"


def _attributes(event: OutboxEvent, *, of: Sequence[OutboxEvent] = ()) -> Attributes:
    # The conventions have a count for batches only.
    count: Attributes = {"messaging.batch.message_count": len(of)} if of else {}
    return {
        **count,
        "messaging.system": "telemed",
        "messaging.operation.type": "process",
        "messaging.destination.name": event.type,
        "messaging.message.id": str(event.id),
        "telemed.attempt": event.attempts,
    }
