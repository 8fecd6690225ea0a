"""What is kept by month: which months there are, and how more are made. Months are those of UTC.

The database makes them (`platform.create_month`, docs/decisions/0014-partitions.md); here it is asked to.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, get_args

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

MonthlyTable = Literal["audit", "outbox", "history"]
MONTHLY_TABLES: tuple[MonthlyTable, ...] = get_args(MonthlyTable)

# Every partition of the monthly tables. The catalogue is everybody's, so this needs no right on them.
_PARTITIONS = text(
    """
    SELECT t.name AS of_table, n.nspname AS schema, c.relname AS name, pg_total_relation_size(c.oid) AS size_bytes
    FROM platform.monthly_tables() AS t
    JOIN pg_namespace AS n ON n.nspname = t.parent_schema
    JOIN pg_class AS p ON p.relnamespace = n.oid AND p.relname = t.parent_name
    JOIN pg_inherits AS i ON i.inhparent = p.oid
    JOIN pg_class AS c ON c.oid = i.inhrelid
    ORDER BY t.name, c.relname
    """
)
_CREATE = text("SELECT platform.create_month(:of_table, :month)")
_DEFAULT_ROWS = text("SELECT month, row_count FROM platform.default_rows(:of_table)")

_MONTH = re.compile(r"_(before_)?(\d{4})_(\d{2})$")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. *starts_on* is None if it holds everything before its end, both are None for the default one."""

    of_table: MonthlyTable
    schema: str
    name: str
    size_bytes: int
    starts_on: date | None
    ends_on: date | None

    @property
    def label(self) -> str:
        """Give the name by which operators call it: `2026-12`, `before-2026-12` or `default`."""
        if self.ends_on is None:
            return "default"
        return f"before-{self.ends_on:%Y-%m}" if self.starts_on is None else f"{self.starts_on:%Y-%m}"

    @property
    def place(self) -> str:
        """Give its name for SQL; from the catalogue, and of a pattern that needs no quotes."""
        return f"{self.schema}.{self.name}"


def month_of(at: datetime) -> date:
    """Give the first day of the month in which the instant lies."""
    return at.astimezone(UTC).date().replace(day=1)


def shifted(month: date, count: int) -> date:
    """Give the month so many months later, or earlier if negative."""
    years, months = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, months + 1, 1)


def start_of(month: date) -> datetime:
    """Give the instant at which the month begins."""
    return datetime(month.year, month.month, month.day, tzinfo=UTC)


def months_ahead(partitions: Collection[Partition], *, now: datetime) -> int:
    """Count the months after this one that are there without a gap; -1 if not even this one is."""
    ahead = -1
    while _is_covered(partitions, shifted(month_of(now), ahead + 1)):
        ahead += 1
    return ahead


def _is_covered(partitions: Collection[Partition], month: date) -> bool:
    return any(
        one.ends_on is not None and month < one.ends_on and (one.starts_on is None or one.starts_on <= month)
        for one in partitions
    )


def missing_months(partitions: Collection[Partition], months: Collection[date]) -> list[date]:
    """Give those of the months that no partition holds, in order."""
    return sorted(month for month in set(months) if not _is_covered(partitions, month))


async def partitions_of(session: AsyncSession, of_table: MonthlyTable | None = None) -> list[Partition]:
    """Give the partitions of one table, or of all."""
    rows = (await session.execute(_PARTITIONS)).all()
    found = [_partition(*row) for row in rows]
    return [one for one in found if of_table is None or one.of_table == of_table]


def _partition(of_table: MonthlyTable, schema: str, name: str, size_bytes: int) -> Partition:
    match = _MONTH.search(name)
    if match is None:
        return Partition(of_table, schema, name, size_bytes, None, None)
    month = date(int(match[2]), int(match[3]), 1)
    if match[1]:
        return Partition(of_table, schema, name, size_bytes, None, month)
    return Partition(of_table, schema, name, size_bytes, month, shifted(month, 1))


async def create_month(session: AsyncSession, of_table: MonthlyTable, month: date) -> bool:
    """Make the month's partition, with what the default one holds of it; False if it is there already.

    Waits two seconds at most for whoever makes one, and, if the month has begun, for who is writing to the table.
    """
    return bool(await session.scalar(_CREATE, {"of_table": of_table, "month": month}))


async def default_rows(session: AsyncSession, of_table: MonthlyTable) -> dict[date, int]:
    """Count the rows that found no month of theirs, by the month."""
    rows = (await session.execute(_DEFAULT_ROWS, {"of_table": of_table})).all()
    return {row.month: row.row_count for row in rows}
