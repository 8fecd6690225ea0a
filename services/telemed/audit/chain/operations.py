"""Extending the chain and making checkpoints: each call is one transaction with one writer at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.chain import queries
from telemed.audit.chain.queries import CheckpointRow, Head, Link
from telemed.audit.chain.rules import (
    CHECKPOINT_RECORDS,
    GENESIS,
    canonical_record,
    chain_hash,
    checkpoint_due,
    missing_record_hash,
    record_hash,
)
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("audit")

BATCH = 500  # some 50 ms of work; the head is locked for no longer


async def chain_records(session: AsyncSession, *, now: datetime, limit: int = BATCH) -> tuple[int, int] | None:
    """Move waiting records into the chain; gives how many, and the chain's height.

    Locks the head; None if another worker holds it.
    """
    head = await queries.lock_head(session)
    if head is None:
        return None
    taken = await queries.take_unchained(session, limit=limit)
    if not taken:
        return 0, head.seq
    links = linked(head, taken)
    await queries.append_links(session, links, now=now)
    return len(links), links[-1].seq


def linked(head: Head, taken: Sequence[Row[tuple[object, ...]]]) -> list[Link]:
    """Link the records, in their order, to the end of the chain."""
    links = []
    seq, chain = head.seq, head.chain_hash
    for row in taken:
        found = row_hash(row)
        if found is None:
            # Removed between its commit and now. Its place in the chain stays as the proof that it was there.
            log.error("record.vanished", record_id=str(row.record_id))
            found = missing_record_hash(row.record_id)
        seq += 1
        chain = chain_hash(chain, seq, found)
        links.append(Link(seq, row.record_id, found, chain))
    return links


def row_hash(row: Row[tuple[object, ...]]) -> bytes | None:
    """Hash the record of a row of `take_unchained` or `log_after`; None if it is gone."""
    canonical = row_canonical(row)
    return record_hash(canonical) if canonical is not None else None


def row_canonical(row: Row[tuple[object, ...]]) -> str | None:
    """Give the canonical JSON of the row's record; None if it is gone."""
    columns: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it begins with an underscore
    if columns["id"] is None:
        return None
    return canonical_record(columns, columns["details"])


async def make_checkpoint(session: AsyncSession, *, now: datetime, is_asked_for: bool = False) -> bool:
    """Make a checkpoint if one is due, or if a person asked for it and there is something new.

    Locks the head, so that no two cover the same records; a job leaves it to whoever holds the lock.
    """
    head = await queries.lock_head(session, wait=is_asked_for)
    if head is None:
        return False
    covered, previous, made_at = await queries.last_checkpoint(session) or (0, GENESIS, None)
    if head.seq <= covered:
        return False
    if not is_asked_for and not checkpoint_due(chained=head.seq, covered=covered, last_made_at=made_at, now=now):
        return False
    to_seq = min(head.seq, covered + CHECKPOINT_RECORDS)
    end = head.chain_hash if to_seq == head.seq else await queries.chain_hash_at(session, to_seq)
    if end is None:
        log.error("chain.gap", seq=to_seq)  # somebody has taken links out; verification says which
        return False
    await queries.insert_checkpoint(session, CheckpointRow(covered + 1, to_seq, previous, end, now))
    return True
