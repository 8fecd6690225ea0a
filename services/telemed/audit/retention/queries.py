"""Every SQL statement of retention. Names of partitions come from the catalogue, in a pattern that needs no quotes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.chain.queries import RECORD_COLUMNS
from telemed.kernel.partitions import MonthlyTable, Partition

_PARENTS: dict[MonthlyTable, str] = {
    "audit": "audit.records",
    "outbox": "platform.outbox",
    "history": "booking.appointment_history",
}
# The order of an export: that of the primary keys, so that a page begins at its place without a sort.
_KEYS: dict[MonthlyTable, tuple[str, ...]] = {
    "audit": ("id",),
    "outbox": ("id", "occurred_at"),
    "history": ("appointment_id", "version", "recorded_at"),
}

# JSON shows instants in the session's zone.
_UTC = text("SET LOCAL timezone = 'UTC'")
# A lock that is not to be had soon is not waited for: everybody else would queue behind us.
_SHORTLY = text("SET LOCAL lock_timeout = '2s'")

# The end of what checkpoints cover.
_COVERED = text("SELECT coalesce(max(to_seq), 0) FROM audit.checkpoints")
# How many records of a range were ever chained. Index: chain_record.
_CHAINED = text("SELECT count(*) FROM audit.chain WHERE record_id >= :from_id AND record_id < :to_id")
_RETIRED_ALREADY = text("SELECT count(*) FROM audit.retired WHERE from_id < :to_id AND to_id > :from_id")
_NOTE_RETIRED = text(
    """
    INSERT INTO audit.retired (record_id, label, from_id, to_id, row_count, sha256, retired_at)
    VALUES (:record_id, :label, :from_id, :to_id, :row_count, :sha256, :retired_at)
    """
)
# The record of a retirement that this transaction has just made. Index: records_entity.
_RECORD_OF = text("SELECT id FROM audit.records WHERE entity_id = :entity_id AND action = 'partition.retire'")
# Each retirement with what its record in the trail says; null if that is gone. Index: records_pkey.
_RETIREMENTS = text(
    """
    SELECT t.record_id, t.label, t.from_id, t.to_id, t.row_count, t.sha256, t.retired_at,
           CASE WHEN r.action = 'partition.retire' AND r.outcome = 'allowed' THEN r.details END AS details
    FROM audit.retired AS t LEFT JOIN audit.records AS r ON r.id = t.record_id
    ORDER BY t.from_id, t.record_id
    """
).columns(details=JSONB)


@dataclass(frozen=True, slots=True)
class Retirement:
    """A month of the trail that was taken away: ids from *from_id* on and below *to_id*."""

    record_id: UUID
    label: str
    from_id: UUID
    to_id: UUID
    row_count: int
    sha256: bytes
    retired_at: datetime


async def rows_after(
    session: AsyncSession, partition: Partition, after: Sequence[object], *, limit: int
) -> Sequence[Row[tuple[Any, ...]]]:
    """Give rows of the partition in the order of its key, after a place (empty: from the beginning).

    Each has `key_0`, `key_1`, … and, for the trail, the record's columns with `chained_seq` and `chained_hash`, for
    others `line`. Index: the partition's primary key.
    """
    await session.execute(_UTC)
    names = _KEYS[partition.of_table]
    values: dict[str, object] = {"limit": limit} | {f"after_{place}": value for place, value in enumerate(after)}
    keys = ", ".join(f"r.{name}" for name in names)
    shown = ", ".join(f"r.{name} AS key_{place}" for place, name in enumerate(names))
    where = f"WHERE ({keys}) > ({', '.join(f':after_{place}' for place in range(len(names)))})" if after else ""
    if partition.of_table == "audit":
        columns = f"{shown}, {RECORD_COLUMNS}, c.seq AS chained_seq, c.record_hash AS chained_hash"
        joined = "LEFT JOIN audit.chain AS c ON c.record_id = r.id"
    else:
        columns, joined = f"{shown}, to_jsonb(r)::text AS line", ""
    statement = f"SELECT {columns} FROM {partition.place} AS r {joined} {where} ORDER BY {keys} LIMIT :limit"  # noqa: S608 - our own names
    return (await session.execute(text(statement), values)).all()


async def hold_still(session: AsyncSession, partition: Partition) -> None:
    """Keep the partition's rows as they are until the transaction ends; readers pass."""
    await session.execute(_SHORTLY)
    await session.execute(text(f"LOCK TABLE {partition.place} IN SHARE MODE"))


async def undelivered_events(session: AsyncSession, partition: Partition) -> int:
    """Count the events of the partition that not every subscriber has had."""
    statement = f"SELECT count(*) FROM {partition.place} WHERE delivered_at IS NULL"  # noqa: S608 - our own names
    return int(await session.scalar(text(statement)) or 0)


async def covered_seq(session: AsyncSession) -> int:
    """Give the last place of the chain that a checkpoint covers."""
    return int(await session.scalar(_COVERED) or 0)


async def chained_between(session: AsyncSession, from_id: UUID, to_id: UUID) -> int:
    """Count the places of the chain whose records have ids of this range."""
    return int(await session.scalar(_CHAINED, {"from_id": from_id, "to_id": to_id}) or 0)


async def is_retired_already(session: AsyncSession, from_id: UUID, to_id: UUID) -> bool:
    """Tell whether ids of this range were retired before."""
    return bool(await session.scalar(_RETIRED_ALREADY, {"from_id": from_id, "to_id": to_id}))


async def take_away(session: AsyncSession, partition: Partition) -> None:
    """Detach the partition and drop it; locks the whole table out from here to the end of the transaction."""
    await session.execute(text(f"ALTER TABLE {_PARENTS[partition.of_table]} DETACH PARTITION {partition.place}"))
    await session.execute(text(f"DROP TABLE {partition.place}"))


async def record_of(session: AsyncSession, entity_id: UUID) -> UUID:
    """Find the trail's record of a retirement by what it is about."""
    return UUID(str(await session.scalar(_RECORD_OF, {"entity_id": entity_id})))


async def note_retired(session: AsyncSession, retirement: Retirement) -> None:
    """Keep what was taken away of the trail."""
    names = Retirement.__slots__
    await session.execute(_NOTE_RETIRED, {name: getattr(retirement, name) for name in names})


async def retirements(session: AsyncSession) -> list[tuple[Retirement, dict[str, Any] | None]]:
    """Give every retirement, by the ids that it took, with the details of its record; None if that is gone."""
    found = []
    for row in (await session.execute(_RETIREMENTS)).all():
        *columns, details = row
        found.append((Retirement(*columns), details))
    return found
