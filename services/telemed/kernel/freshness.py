"""Counts whether what was committed reaches those who wait for it: events their subscribers, audit records the chain.

A look that fails counts as late. What it would have seen cannot be known, and what was committed before the server went
away does wait; an objective that stops counting while nothing moves would be kept best by standing still.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

from telemed.kernel.jobs import Job
from telemed.kernel.resources import Resources

Subject = Literal["outbox", "audit"]

# Both queues are looked at every second or oftener, so what has waited for half a minute is stuck, or behind a backlog.
# Longer than a worker takes to be replaced and than the longest pause of a job after failures (15 s): neither a
# deployment nor the seconds of a failover are a breach.
FRESH_WITHIN = timedelta(seconds=30)
LOOK_EVERY = timedelta(seconds=15)


def look_job(name: str, subject: Subject, oldest: Callable[[Resources, datetime], Awaitable[datetime | None]]) -> Job:
    """Make the job that looks since when the oldest has waited (None: nothing waits), and counts what that means."""

    async def look(resources: Resources) -> int:
        counts = {result: resources.metrics.freshness.labels(subject, result) for result in ("fresh", "late")}
        now = resources.clock.now()
        try:
            since = await oldest(resources, now)
        except Exception:
            counts["late"].inc()
            raise
        is_fresh = since is None or now - since <= FRESH_WITHIN
        counts["fresh" if is_fresh else "late"].inc()
        return 0

    return Job(name, LOOK_EVERY, look)
