"""Months of the past, for tests of partitions: a database that has just been migrated has none."""

from datetime import UTC, date, datetime

import asyncpg

from telemed.kernel.ids import uuid7

PARENTS = {"audit": "audit.records", "outbox": "platform.outbox", "history": "booking.appointment_history"}


def months_ago(count: int) -> date:
    """Give the first day of the month so many months before this one; after it, if negative."""
    today = datetime.now(UTC)
    years, months = divmod(today.year * 12 + today.month - 1 - count, 12)
    return date(years, months + 1, 1)


def instant_in(month: date, *, second: int = 0) -> datetime:
    """Give an instant of the month."""
    return datetime(month.year, month.month, 10, second // 3600 % 24, second // 60 % 60, second % 60, tzinfo=UTC)


def id_in(month: date) -> str:
    """Give an id as if it had been made in the month."""
    return str(uuid7(int(instant_in(month).timestamp() * 1000)))


async def make_months(owner: asyncpg.Connection, table: str, *months: date) -> list[str]:
    """Make partitions of these months, in place of the one that holds everything before the next, if that is empty."""
    before = await owner.fetchval(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass "
        "AND inhrelid::regclass::text LIKE '%\\_before\\_%'",
        PARENTS[table],
    )
    if before is not None:
        assert not await owner.fetchval(f"SELECT count(*) FROM {before}"), "it holds rows of another test"
        await owner.execute(f"DROP TABLE {before}")
    for month in months:
        await owner.execute("SELECT platform.create_month($1, $2)", table, month)
    return [f"{PARENTS[table]}_{month:%Y_%m}" for month in months]
