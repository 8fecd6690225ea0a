"""Jobs of the worker itself: forgetting what nobody needs any more, and measuring the outbox."""

from datetime import datetime, timedelta

from telemed.kernel.freshness import look_job
from telemed.kernel.idempotency import forget_replies
from telemed.kernel.jobs import FORGOTTEN_AT_ONCE, Job
from telemed.kernel.resources import Resources
from telemed.worker import queries

# Notes of subscribers must outlive every way in which an event may come again; an undelivered one keeps them longer.
KEEP_HANDLED = timedelta(days=14)


async def _forget_replies(resources: Resources) -> int:
    before = resources.clock.now() - timedelta(hours=resources.settings.idempotency_keep_hours)
    return await resources.db.transact(forget_replies, before=before, limit=FORGOTTEN_AT_ONCE)


async def _forget_handled(resources: Resources) -> int:
    before = resources.clock.now() - KEEP_HANDLED
    return await resources.db.transact(queries.forget_handled, before=before, limit=FORGOTTEN_AT_ONCE)


async def _measure_outbox(resources: Resources, now: datetime) -> datetime | None:
    """Set the gauges of the outbox; says since when the oldest event is due."""
    due, oldest_due_at, parked = await resources.db.read(queries.backlog, now=now)
    resources.metrics.outbox_due.set(due)
    resources.metrics.outbox_due_age.set((now - oldest_due_at).total_seconds() if oldest_due_at else 0)
    resources.metrics.outbox_parked.set(parked)
    return oldest_due_at


MEASURE_OUTBOX = look_job("outbox-measure", "outbox", _measure_outbox)
HOUSEKEEPING = (
    MEASURE_OUTBOX,
    Job("forget-replies", timedelta(minutes=10), _forget_replies, batch=FORGOTTEN_AT_ONCE),
    Job("forget-handled", timedelta(minutes=10), _forget_handled, batch=FORGOTTEN_AT_ONCE),
)
