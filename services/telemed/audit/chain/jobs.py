"""What the worker does for the trail."""

from datetime import datetime, timedelta

from telemed.audit.chain import queries
from telemed.audit.chain.operations import chain_records, make_checkpoint
from telemed.kernel.freshness import look_job
from telemed.kernel.jobs import Job
from telemed.kernel.resources import Resources


async def _chain(resources: Resources) -> int:
    now = resources.clock.now()
    result = await resources.db.transact(chain_records, now=now)
    if result is None:
        return 0
    count, height = result
    resources.metrics.audit_chain_height.set(height)
    oldest = await resources.db.read(queries.oldest_unchained_at) if count else None
    resources.metrics.audit_unchained_age.set((now - oldest).total_seconds() if oldest else 0)
    return count


async def _checkpoint(resources: Resources) -> int:
    return int(await resources.db.transact(make_checkpoint, now=resources.clock.now()))


async def _measure_queue(resources: Resources, now: datetime) -> datetime | None:
    """Say how old the oldest unchained record is, whoever chains; also while nobody can."""
    oldest: datetime | None = await resources.db.read(queries.oldest_unchained_at)
    resources.metrics.audit_unchained_age.set((now - oldest).total_seconds() if oldest else 0)
    return oldest


MEASURE_QUEUE = look_job("audit-measure", "audit", _measure_queue)
JOBS = (
    Job("audit-chain", timedelta(seconds=1), _chain),
    Job("audit-checkpoint", timedelta(seconds=10), _checkpoint),
    MEASURE_QUEUE,
)
