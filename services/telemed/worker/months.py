"""Keeps months made ahead, and says when they are not: a missing one would fill the default partition."""

from datetime import date, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.jobs import Job
from telemed.kernel.partitions import (
    MONTHLY_TABLES,
    MonthlyTable,
    Partition,
    create_month,
    default_rows,
    missing_months,
    month_of,
    months_ahead,
    partitions_of,
    shifted,
)
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("worker")

# Months are few; but after a failure the job must not wait for a day, and to look costs one query.
_CREATE_EVERY = timedelta(minutes=10)
_MEASURE_EVERY = timedelta(minutes=1)
# A row of another century is somebody's mistake: it stays where it is seen, and gets no partition.
_OLDEST_MONTHS = 120


async def keep_months_ahead(resources: Resources) -> int:
    """Make what is missing of this month and those ahead, and the months of rows that found none.

    What fails for one table does not keep the others from theirs.
    """
    failed: Exception | None = None
    for table in MONTHLY_TABLES:
        try:
            for month in await _missing(resources, table):
                if await resources.db.transact(create_month, table, month):
                    log.info("partition.created", table=table, month=f"{month:%Y-%m}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
            failed = error
    if failed is not None:
        raise failed
    return 0


async def _missing(resources: Resources, table: MonthlyTable) -> list[date]:
    now, ahead = month_of(resources.clock.now()), resources.settings.partitions_ahead_months
    partitions, strays = await resources.db.read(_look, table)
    first, last = shifted(now, -_OLDEST_MONTHS), shifted(now, ahead)
    wanted = {shifted(now, count) for count in range(ahead + 1)}
    return missing_months(partitions, wanted | {month for month in strays if first <= month <= last})


async def _look(session: AsyncSession, table: MonthlyTable) -> tuple[list[Partition], dict[date, int]]:
    return await partitions_of(session, table), await default_rows(session, table)


async def measure_months(resources: Resources) -> int:
    """Set the gauges of the months; an error in the log if one is missing or rows have found none."""
    now = resources.clock.now()
    for table in MONTHLY_TABLES:
        partitions, strays = await resources.db.read(_look, table)
        ahead, rows = months_ahead(partitions, now=now), sum(strays.values())
        resources.metrics.partitions_ahead.labels(table).set(ahead)
        resources.metrics.partitions_default_rows.labels(table).set(rows)
        keep = resources.settings.keep_months(table)
        old = [one for one in partitions if one.ends_on and shifted(one.ends_on, keep) <= month_of(now)]
        resources.metrics.partitions_retirable.labels(table).set(len(old))
        if ahead < 1 or rows:
            log.error("partition.missed", table=table, months_ahead=ahead, default_rows=rows)
    return 0


MONTHS = (
    Job("partitions-create", _CREATE_EVERY, keep_months_ahead),
    Job("partitions-measure", _MEASURE_EVERY, measure_months),
)
