"""What must never be, as queries that the worker runs for ever; the service that owns a rule declares its query.

Constraints and locks prevent; these find out whether they did, also after somebody has dropped one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.jobs import Job
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("invariants")

_SHOWN = 5  # ids in the log: enough to begin with, and never a flood

# From and to, counted from now.
Window = tuple[timedelta, timedelta]
_NO_WINDOW: tuple[Window, ...] = ((timedelta(0), timedelta(0)),)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule and the query that gives one row for each violation: `id`, the thing's.

    The query is one statement and so reads one snapshot: what is written in one transaction it sees whole or not at
    all. It may use `:now`, and must not need a constraint's index to be right. With *windows* it is asked for each of
    them, `:since` to `:until`, and what it finds is added up: so no statement takes long, however much there is.
    """

    name: str
    violations: str
    windows: tuple[Window, ...] = _NO_WINDOW

    @property
    def statement(self) -> TextClause:
        """Give the query that counts, with a few of the ids."""
        return text(
            f"SELECT id, count(*) OVER () AS total FROM ({self.violations}) AS violations "  # noqa: S608 - our own query
            f"ORDER BY id LIMIT {_SHOWN}"
        )


def invariants_job(name: str, every: timedelta, invariants: Sequence[Invariant]) -> Job:
    """Make the job that looks for violations of each; every worker looks for itself, as each shows its own gauges.

    What fails for one invariant does not keep the others from their look; its gauges stay what they were.
    """

    async def look(resources: Resources) -> int:
        failed: Exception | None = None
        for invariant in invariants:
            try:
                await _look(resources, invariant)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
                failed = error
        if failed is not None:
            raise failed
        return 0

    return Job(name, every, look)


async def _look(resources: Resources, invariant: Invariant) -> None:
    now, statement = resources.clock.now(), invariant.statement
    count, ids = 0, list[UUID]()
    for since, until in invariant.windows:
        values = {"now": now, "since": now + since, "until": now + until}
        found, some = await resources.db.read(_violations, statement, values)
        count, ids = count + found, ids + some
    resources.metrics.invariant_violations.labels(invariant.name).set(count)
    resources.metrics.invariant_checked.labels(invariant.name).set(resources.clock.now().timestamp())
    if count:
        log.error("invariant.violated", invariant=invariant.name, count=count, ids=[str(one) for one in ids[:_SHOWN]])


async def _violations(
    session: AsyncSession, statement: TextClause, values: dict[str, datetime]
) -> tuple[int, list[UUID]]:
    named = {name: value for name, value in values.items() if name in statement.compile().params}
    rows = (await session.execute(statement, named)).all()
    return (rows[0].total, [row.id for row in rows]) if rows else (0, [])
