"""Exporting a month, and taking it away once the export is proved to be what the database holds."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.audit.chain.operations import row_canonical
from telemed.audit.chain.rules import record_hash
from telemed.audit.proof.lines import Unreadable
from telemed.audit.retention import queries
from telemed.audit.retention.export_file import (
    Manifest,
    content_of,
    export_path,
    read_manifest,
    write_manifest,
    written_lines,
)
from telemed.audit.retention.queries import Retirement
from telemed.audit.retention.rules import first_id_of
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.database import Database
from telemed.kernel.direct import direct_of
from telemed.kernel.ids import uuid7
from telemed.kernel.partitions import MonthlyTable, Partition, partitions_of, shifted, start_of

_AT_ONCE = 1000  # rows in one statement: far below the statement timeout

Page = Sequence[Row[tuple[Any, ...]]]


class NotRetirable(Exception):
    """A month may not go, or not yet; the message is the one sentence that the operator sees."""


@dataclass(slots=True)
class _Content:
    """What a partition was found to hold, line by line."""

    rows: int = 0
    first_id: str | None = None
    last_id: str | None = None
    digest: Any = field(default_factory=hashlib.sha256)  # hashlib's type has no public name

    def add(self, key: str, line: str) -> None:
        self.rows += 1
        self.first_id = self.first_id or key
        self.last_id = key
        self.digest.update(line.encode() + b"\n")


async def find_partition(session: AsyncSession, table: MonthlyTable, month: str) -> Partition:
    """Find a partition by the name that operators use.

    Raises:
        NotRetirable: there is none, naming those that there are.
    """
    partitions = await partitions_of(session, table)
    for one in partitions:
        if one.label == month and one.ends_on is not None:
            return one
    known = ", ".join(sorted(one.label for one in partitions if one.ends_on is not None))
    raise NotRetirable(f"{table} has no partition {month}; it has {known}.")


async def export_month(db: Database, table: MonthlyTable, month: str, folder: Path, *, now: datetime) -> Path:
    """Write a month that is over into a file with a manifest beside it; gives the file's name.

    Page by page, each in a short transaction, so that no snapshot is held for the time of it. Whatever changes
    meanwhile makes the hash another one than the database's, which retiring finds.

    Raises:
        NotRetirable: no such month, or it is not over.
        Unreadable: the export is there already, or cannot be written.
    """
    partition = await db.read(find_partition, table, month)
    if partition.ends_on is None or start_of(partition.ends_on) > now:
        raise NotRetirable(f"{month} of {table} is not over yet.")
    content = _Content()
    path = export_path(folder, table, month)

    async def page(after: Sequence[object]) -> Page:
        return await db.read(queries.rows_after, partition, after, limit=_AT_ONCE)

    with written_lines(path) as lines:
        async for row in _rows(page):
            line = _line(row)
            lines.write(line)
            content.add(str(row.key_0), line)
    manifest = Manifest(
        table=table,
        month=month,
        rows=content.rows,
        sha256=content.digest.hexdigest(),
        first_id=content.first_id,
        last_id=content.last_id,
        exported_at=now,
    )
    write_manifest(path, manifest)
    return path


def checked_export(path: Path, table: MonthlyTable, month: str) -> Manifest:
    """Read the manifest of an export, and the whole export, and find them to agree.

    Raises:
        NotRetirable: they do not, or are of another month.
        Unreadable: they cannot be read.
    """
    manifest = read_manifest(path)
    if (manifest.table, manifest.month) != (table, month):
        raise NotRetirable(f"{path} is an export of {manifest.table} {manifest.month}, not of {table} {month}.")
    if content_of(path) != (manifest.rows, manifest.sha256):
        raise NotRetirable(f"{path} is not what its manifest says: it was changed since it was written.")
    return manifest


async def retire_month(session: AsyncSession, act: Act, manifest: Manifest, *, keep_months: int, by: str) -> int:
    """Take away a month of which this is the manifest; returns how many rows. One transaction, as the tables' owner.

    Compares every row with the export once more, while nobody can change one; *by* is who asked for it.

    Raises:
        NotRetirable: naming what forbids it; nothing was changed.
    """
    partition = await find_partition(session, manifest.table, manifest.month)
    assert partition.ends_on is not None  # noqa: S101 - narrows the type only; the default one cannot be found
    if start_of(shifted(partition.ends_on, keep_months)) > act.now:
        raise NotRetirable(
            f"{manifest.month} of {manifest.table} has to be kept for {keep_months} months after its end."
        )
    await queries.hold_still(session, partition)
    if manifest.table == "outbox":
        undelivered = await queries.undelivered_events(session, partition)
        if undelivered:
            raise NotRetirable(f"{undelivered} of its events are not delivered yet; see `telemed outbox parked`.")
    content = await _content_of(session, partition)
    if (content.rows, content.digest.hexdigest()) != (manifest.rows, manifest.sha256):
        raise NotRetirable(
            f"The database holds {content.rows} rows of it that are not what was exported ({manifest.rows} rows); "
            "export it again."
        )
    await _take_away(session, act, partition, manifest, by=by)
    return content.rows


async def _content_of(session: AsyncSession, partition: Partition) -> _Content:
    covered = await queries.covered_seq(session) if partition.of_table == "audit" else 0
    content = _Content()

    async def page(after: Sequence[object]) -> Page:
        return await queries.rows_after(session, partition, after, limit=_AT_ONCE)

    async for row in _rows(page):
        line = _line(row)
        if partition.of_table == "audit":
            _check_chained(row, line, covered)
        content.add(str(row.key_0), line)
    return content


def _check_chained(row: Row[tuple[Any, ...]], line: str, covered: int) -> None:
    if row.chained_seq is None:
        raise NotRetirable(f"Record {row.key_0} is not in the chain.")
    if row.chained_seq > covered:
        raise NotRetirable(f"Record {row.key_0} is in no checkpoint yet; run `telemed audit checkpoint` first.")
    if record_hash(line) != bytes(row.chained_hash):
        raise NotRetirable(
            f"Record {row.key_0} is not what was chained: run `telemed audit verify`, and retire nothing."
        )


async def _take_away(session: AsyncSession, act: Act, partition: Partition, manifest: Manifest, *, by: str) -> None:
    from_id, to_id = first_id_of(partition.starts_on), first_id_of(partition.ends_on)
    entity_id = uuid7()
    details: dict[str, Any] = manifest.model_dump(include={"table", "month", "rows", "sha256"}) | {"by": by}
    if manifest.table == "audit":
        await _check_trail(session, from_id, to_id, manifest.rows)
        details |= {"from_id": str(from_id), "to_id": str(to_id)}
    entry = AuditEntry(action="partition.retire", entity_type="partition", entity_id=entity_id, details=details)
    await append_audit(session, act, entry)
    if manifest.table == "audit":
        await direct_of(session).write_ending()  # now, as it is looked for
        record_id, digest = await queries.record_of(session, entity_id), bytes.fromhex(manifest.sha256)
        retired = Retirement(record_id, manifest.month, from_id, to_id, manifest.rows, digest, act.now)
        await queries.note_retired(session, retired)
    # Last, because from here on everybody else waits.
    await queries.take_away(session, partition)


async def _check_trail(session: AsyncSession, from_id: UUID, to_id: UUID, rows: int) -> None:
    if await queries.is_retired_already(session, from_id, to_id):
        raise NotRetirable("Records of this month were retired before; what came in afterwards stays.")
    chained = await queries.chained_between(session, from_id, to_id)
    if chained != rows:
        raise NotRetirable(
            f"The chain holds {chained} records of this month, the table {rows}: run `telemed audit verify`, "
            "and retire nothing."
        )


async def _rows(page: Callable[[Sequence[object]], Awaitable[Page]]) -> AsyncIterator[Row[tuple[Any, ...]]]:
    after: Sequence[object] = ()
    while rows := await page(after):
        for row in rows:
            yield row
        after = [value for name, value in rows[-1]._mapping.items() if str(name).startswith("key_")]  # noqa: SLF001 - SQLAlchemy's public name for it begins with an underscore


def _line(row: Row[tuple[Any, ...]]) -> str:
    """Write the row as its export has it."""
    if "line" in row._fields:
        return str(row.line)
    canonical = row_canonical(row)
    if canonical is None:
        raise Unreadable("a record without an id")
    return canonical
