"""Every SQL statement of the chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.chain.rules import TEXT_COLUMNS

# Every column as text that no setting of the session changes; what to_char cannot write (infinity, years before
# Christ: only tampering makes them) falls back to the server's own words. Alias of audit.records: r.
_INSTANT = """
    CASE WHEN isfinite(r.recorded_at) AND r.recorded_at > '0001-01-02+00'
         THEN to_char(r.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
         ELSE r.recorded_at::text END
"""
_AS_TEXT = {name: f"r.{name}::text" for name in (*TEXT_COLUMNS, "details")} | {"recorded_at": _INSTANT}
RECORD_COLUMNS = ", ".join(f"{expression} AS {name}" for name, expression in _AS_TEXT.items())

# The chain's one writer; others find the row locked, get nothing, and leave the work to the one who holds it.
_LOCK_HEAD = text("SELECT seq, chain_hash FROM audit.chain_head FOR UPDATE SKIP LOCKED")
# The same for a person who asked for it and waits.
_AWAIT_HEAD = text("SELECT seq, chain_hash FROM audit.chain_head FOR UPDATE")

_PEEK_HEAD = text("SELECT seq, chain_hash FROM audit.chain_head")

# Takes records out of the queue, in the order of their ids, with all their columns; nulls for those that are gone.
_TAKE = text(
    f"""
    WITH taken AS MATERIALIZED (
        DELETE FROM audit.unchained WHERE record_id IN (
            SELECT record_id FROM audit.unchained ORDER BY record_id LIMIT :limit
        ) RETURNING record_id
    )
    SELECT t.record_id, {RECORD_COLUMNS}
    FROM taken AS t LEFT JOIN audit.records AS r ON r.id = t.record_id
    ORDER BY t.record_id
    """  # noqa: S608 - our own column list
)

# Appends links to the chain.
_APPEND = text(
    """
    INSERT INTO audit.chain (seq, record_id, record_hash, chain_hash, chained_at)
    SELECT l.seq, l.record_id, l.record_hash, l.chain_hash, :now
    FROM unnest(CAST(:seqs AS bigint[]), CAST(:record_ids AS uuid[]), CAST(:record_hashes AS bytea[]),
                CAST(:chain_hashes AS bytea[])) AS l (seq, record_id, record_hash, chain_hash)
    """
)

_ADVANCE = text("UPDATE audit.chain_head SET seq = :seq, chain_hash = :chain_hash")

# When the record that has waited longest was made. Index: unchained_pkey.
_OLDEST_UNCHAINED = text(
    """
    SELECT r.recorded_at FROM audit.unchained AS u JOIN audit.records AS r ON r.id = u.record_id
    ORDER BY u.record_id LIMIT 1
    """
)

# The newest checkpoint. Index: checkpoints_pkey.
_LAST_CHECKPOINT = text("SELECT to_seq, chain_hash, made_at FROM audit.checkpoints ORDER BY to_seq DESC LIMIT 1")

# The chain hash at one place. Index: chain_pkey.
_CHAIN_HASH = text("SELECT chain_hash FROM audit.chain WHERE seq = :seq")

_INSERT_CHECKPOINT = text(
    """
    INSERT INTO audit.checkpoints (to_seq, from_seq, previous_chain_hash, chain_hash, made_at)
    VALUES (:to_seq, :from_seq, :previous, :chain_hash, :now)
    """
)

# Checkpoints after a place, in order. Index: checkpoints_pkey.
_CHECKPOINTS = text(
    """
    SELECT to_seq, from_seq, previous_chain_hash, chain_hash, made_at FROM audit.checkpoints
    WHERE to_seq > :after ORDER BY to_seq LIMIT :limit
    """
)

# Checkpoints that end within a stretch. Index: checkpoints_pkey.
_CHECKPOINTS_WITHIN = text(
    """
    SELECT to_seq, from_seq, previous_chain_hash, chain_hash, made_at FROM audit.checkpoints
    WHERE to_seq BETWEEN :from_seq AND :to_seq ORDER BY to_seq
    """
)

# A stretch of the chain without its records. Index: chain_pkey.
_LINKS = text(
    """
    SELECT seq, record_id, record_hash, chain_hash FROM audit.chain
    WHERE seq BETWEEN :from_seq AND :to_seq ORDER BY seq
    """
)

# The log: links after a place, each with its record or nulls. By sequence number, which is safe here and nowhere else:
# the chain has one writer, so numbers become visible in their order. Index: chain_pkey, records_pkey.
_LOG = text(
    f"""
    SELECT c.seq, c.record_id, c.record_hash, c.chain_hash, {RECORD_COLUMNS}
    FROM (SELECT seq, record_id, record_hash, chain_hash FROM audit.chain
          WHERE seq > :after ORDER BY seq LIMIT :limit) AS c
    LEFT JOIN audit.records AS r ON r.id = c.record_id
    ORDER BY c.seq
    """  # noqa: S608 - our own column list
)

# Records after an id, with whether they are in the chain or in its queue. One snapshot sees every honest record in
# exactly one of them. Instants as text: what tampering can put there, a datetime cannot hold. Indexes: records_pkey,
# chain_record, unchained_pkey.
_PLACED = text(
    f"""
    SELECT r.id, {_INSTANT} AS recorded_at, r.recorded_at < :before AS is_late,
           c.seq IS NOT NULL AS is_chained, u.record_id IS NOT NULL AS is_queued
    FROM (SELECT id, recorded_at FROM audit.records
          WHERE CAST(:after AS uuid) IS NULL OR id > :after ORDER BY id LIMIT :limit) AS r
    LEFT JOIN audit.chain AS c ON c.record_id = r.id
    LEFT JOIN audit.unchained AS u ON u.record_id = r.id
    ORDER BY r.id
    """  # noqa: S608 - our own column list
)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain."""

    seq: int
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """One place of the chain."""

    seq: int
    record_id: UUID
    record_hash: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint as the database keeps it."""

    from_seq: int
    to_seq: int
    previous_chain_hash: bytes
    chain_hash: bytes
    made_at: datetime


async def lock_head(session: AsyncSession, *, wait: bool = False) -> Head | None:
    """Become the chain's only writer until the transaction ends; None if somebody else is and *wait* is false."""
    row = (await session.execute(_AWAIT_HEAD if wait else _LOCK_HEAD)).one_or_none()
    return Head(row.seq, row.chain_hash) if row is not None else None


async def peek_head(session: AsyncSession) -> Head:
    """Look at the end of the chain without a lock; it may have moved on already."""
    row = (await session.execute(_PEEK_HEAD)).one()
    return Head(row.seq, row.chain_hash)


async def take_unchained(session: AsyncSession, *, limit: int) -> Sequence[Row[tuple[UUID, str]]]:
    """Take records out of the queue, in order; the record's columns are null if it is gone."""
    return (await session.execute(_TAKE, {"limit": limit})).all()


async def append_links(session: AsyncSession, links: Sequence[Link], *, now: datetime) -> None:
    """Append the links and move the head to the last of them."""
    values = {
        "seqs": [link.seq for link in links],
        "record_ids": [link.record_id for link in links],
        "record_hashes": [link.record_hash for link in links],
        "chain_hashes": [link.chain_hash for link in links],
    }
    await session.execute(_APPEND, values | {"now": now})
    await session.execute(_ADVANCE, {"seq": links[-1].seq, "chain_hash": links[-1].chain_hash})


async def oldest_unchained_at(session: AsyncSession) -> datetime | None:
    """Say when the record that has waited longest for the chain was made."""
    at: datetime | None = await session.scalar(_OLDEST_UNCHAINED)
    return at


async def last_checkpoint(session: AsyncSession) -> tuple[int, bytes, datetime] | None:
    """Give the newest checkpoint's last sequence number, its chain hash, and when it was made."""
    row = (await session.execute(_LAST_CHECKPOINT)).one_or_none()
    return (row.to_seq, row.chain_hash, row.made_at) if row is not None else None


async def chain_hash_at(session: AsyncSession, seq: int) -> bytes | None:
    """Give the chain hash at this place."""
    found: bytes | None = await session.scalar(_CHAIN_HASH, {"seq": seq})
    return found


async def insert_checkpoint(session: AsyncSession, checkpoint: CheckpointRow) -> None:
    """Keep the checkpoint."""
    values = {
        "to_seq": checkpoint.to_seq,
        "from_seq": checkpoint.from_seq,
        "previous": checkpoint.previous_chain_hash,
        "chain_hash": checkpoint.chain_hash,
        "now": checkpoint.made_at,
    }
    await session.execute(_INSERT_CHECKPOINT, values)


async def checkpoints_after(session: AsyncSession, seq: int, *, limit: int) -> list[CheckpointRow]:
    """Give the checkpoints that end after this place, in order."""
    rows = (await session.execute(_CHECKPOINTS, {"after": seq, "limit": limit})).mappings()
    return [CheckpointRow(**row) for row in rows]


async def checkpoints_within(session: AsyncSession, from_seq: int, to_seq: int) -> list[CheckpointRow]:
    """Give the checkpoints that end in this stretch, both ends included."""
    rows = (await session.execute(_CHECKPOINTS_WITHIN, {"from_seq": from_seq, "to_seq": to_seq})).mappings()
    return [CheckpointRow(**row) for row in rows]


async def links_between(session: AsyncSession, from_seq: int, to_seq: int) -> list[Link]:
    """Give this stretch of the chain, both ends included."""
    rows = (await session.execute(_LINKS, {"from_seq": from_seq, "to_seq": to_seq})).mappings()
    return [Link(**row) for row in rows]


async def log_after(session: AsyncSession, seq: int, *, limit: int) -> Sequence[Row[tuple[int, UUID]]]:
    """Give the log after this place: links with the columns of their records, null where the record is gone."""
    return (await session.execute(_LOG, {"after": seq, "limit": limit})).all()


async def placed_records(
    session: AsyncSession, *, before: datetime, after: UUID | None, limit: int
) -> Sequence[Row[tuple[UUID, str, bool, bool, bool]]]:
    """Give records after an id, with whether they are older than *before*, in the chain, in its queue."""
    return (await session.execute(_PLACED, {"before": before, "after": after, "limit": limit})).all()
