"""Reads the trail for export and verification, in short transactions and with bounded memory."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from telemed.audit.chain import queries
from telemed.audit.chain.operations import row_canonical
from telemed.audit.chain.queries import CheckpointRow, Link
from telemed.audit.chain.rules import record_hash
from telemed.audit.proof.checkpoint_file import Checkpoint, read_checkpoints
from telemed.audit.proof.lines import read_lines, replaced, written
from telemed.audit.proof.log_file import log_line
from telemed.audit.proof.retired import RetiredRecords
from telemed.audit.proof.rules import Entry, Finding
from telemed.audit.proof.spool import Spool
from telemed.kernel.database import Database

_AT_ONCE = 1000  # rows in one transaction: far below the statement timeout


class Disagreement(Exception):
    """The database says something else than a file that was exported earlier; the message is for the operator."""


async def export_log(db: Database, path: Path, *, since_seq: int) -> int:
    """Write the log from this place on into a file, or to standard output (`-`); returns how many records."""
    count = 0
    with written(path) as file:
        async for row in _log(db, since_seq):
            link = Link(row.seq, row.record_id, row.record_hash, row.chain_hash)
            file.write(log_line(link, row_canonical(row)))
            count += 1
    return count


async def spool_log(db: Database, spool: Spool, retired: RetiredRecords, *, since_seq: int) -> None:
    """Read the database's log from this place on, hashing every record anew; what was retired is stood in for."""
    async for row in _log(db, since_seq):
        canonical = row_canonical(row)
        found = record_hash(canonical) if canonical is not None else None
        entry = Entry(row.seq, row.record_id, found, row.record_hash, row.chain_hash)
        spool.append(retired.stand_in(entry))


async def _log(db: Database, since_seq: int) -> AsyncIterator[Row[tuple[Any, ...]]]:
    after = since_seq - 1
    while rows := await db.read(queries.log_after, after, limit=_AT_ONCE):
        for row in rows:
            yield row
        after = rows[-1].seq


async def unchained_findings(db: Database, *, before: datetime) -> AsyncIterator[Finding]:
    """Find records that came in past the chain, and those older than *before* that it has not taken in yet."""
    after: UUID | None = None
    while rows := await db.read(queries.placed_records, before=before, after=after, limit=_AT_ONCE):
        for row in rows:
            if not row.is_chained and not row.is_queued:
                yield Finding("not chained", 0, row.id, f"recorded at {row.recorded_at}, it came in past the chain")
            elif not row.is_chained and row.is_late:
                yield Finding("not chained", 0, row.id, f"recorded at {row.recorded_at}, it still waits in the queue")
        after = rows[-1].id


async def export_checkpoints(db: Database, path: Path, *, key: Ed25519PrivateKey | None = None) -> int:
    """Append to the file what it does not hold yet, signed if there is a key; returns how many checkpoints.

    The file is replaced as a whole, so a crash leaves the old one.

    Raises:
        Disagreement: the database's chain is not the one that the file is of; the file stays as it is.
        Unreadable: the file is damaged, or cannot be written.
    """
    last = _last_of(path)
    if last is not None and await db.read(queries.chain_hash_at, last.to_seq) != last.chain_hash:
        raise Disagreement(
            f"{path} ends at seq {last.to_seq} with another chain hash than the database has there; nothing was "
            f"written. `telemed audit verify --checkpoints {path}` says what was changed."
        )
    first = await _next_checkpoint(db, last)
    if first is None:
        return 0
    count = 0
    with replaced(path) as file:
        for _, line in read_lines(path) if last is not None else ():
            file.write(line)
        fresh: Checkpoint | None = first
        while fresh is not None:
            file.write(fresh.render(key))
            count += 1
            fresh = await _next_checkpoint(db, fresh)
    return count


def _last_of(path: Path) -> Checkpoint | None:
    last = None
    if path.exists():
        for checkpoint in read_checkpoints(path):
            last = checkpoint
    return last


async def _next_checkpoint(db: Database, last: Checkpoint | None) -> Checkpoint | None:
    """Read the checkpoint after this one, with its leaves.

    Raises:
        Disagreement: it does not continue it, or the chain beneath it is not what it says.
    """
    rows: list[CheckpointRow] = await db.read(queries.checkpoints_after, last.to_seq if last else 0, limit=1)
    if not rows:
        return None
    row = rows[0]
    fresh = Checkpoint.of(row, await db.read(queries.links_between, row.from_seq, row.to_seq))
    fault = fresh.fault()
    if fault is not None:
        raise Disagreement(f"The database's checkpoint of seq {row.from_seq} to {row.to_seq} is not sound: {fault}.")
    if last is not None and (row.from_seq, row.previous_chain_hash) != (last.to_seq + 1, last.chain_hash):
        raise Disagreement(f"The database's checkpoint of seq {row.from_seq} does not continue the one before it.")
    return fresh
