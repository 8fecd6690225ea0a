"""What verification makes of records that were retired: proved by their exports, or taken on trust and counted.

A retirement is believed only if an honest one can look like it: whole months, old enough, and a chained record in the
trail that says the same. What it cannot excuse is left to be found as removed.
"""

import mmap
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from telemed.audit.chain.rules import parse_exactly, record_hash
from telemed.audit.proof.lines import Unreadable
from telemed.audit.proof.rules import Entry, Finding
from telemed.audit.retention.export_file import Manifest, content_of, exported_lines, manifest_path, read_manifest
from telemed.audit.retention.queries import Retirement
from telemed.audit.retention.rules import first_id_of, range_fault
from telemed.kernel.partitions import shifted

_KEY, _WIDTH = 16, 48  # bytes: the id, and with it the hash


class ExportedRecords:
    """The hashes of one export of the trail by their ids, on disk: some 50 bytes a record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = content_of(path)[1]
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        last = b""
        for line in exported_lines(path):
            key = _id_of(path, line)
            if key <= last:
                raise Unreadable(f"{path} is no export of the trail: its records are not in the order of their ids.")
            self._file.write(key + record_hash(line.decode("ascii")))
            last = key
        self._file.flush()
        self.rows = self._file.tell() // _WIDTH
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.rows else b""

    def hash_of(self, record_id: UUID) -> bytes | None:
        """Give the hash of the record as it was exported; None if it was not."""
        place = bisect_right(_Keys(self._map, self.rows), record_id.bytes) - 1
        found = self._map[place * _WIDTH : (place + 1) * _WIDTH] if place >= 0 else b""
        return bytes(found[_KEY:]) if found[:_KEY] == record_id.bytes else None

    def close(self) -> None:
        """Give the disk back."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()
        self._file.close()


class _Keys(Sequence[bytes]):
    """The ids of the file, for bisect."""

    def __init__(self, content: Any, count: int) -> None:  # bytes or a map of a file, which share no type with slices
        self._content, self._count = content, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:  # bisect asks for single places only
        return self._content[place * _WIDTH : place * _WIDTH + _KEY]


def _id_of(path: Path, line: bytes) -> bytes:
    try:
        return UUID(parse_exactly(line.decode("ascii"))["id"]).bytes
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path} is no export of the trail.") from error


@dataclass(slots=True)
class _Stretch:
    """One retirement and what the chain turned out to lack in its range."""

    retirement: Retirement
    export: ExportedRecords | None = None
    proved: int = 0
    trusted: int = 0


class RetiredRecords:
    """Stands in for records that are gone because they were retired."""

    def __init__(self, retirements: Iterable[tuple[Retirement, Mapping[str, Any] | None]], *, now: datetime) -> None:
        self.findings: list[Finding] = []
        self._stretches: list[_Stretch] = []
        said = list(retirements)
        ranges = [one for one, _ in said if _range_fault(one, now) is None]
        for retirement, record in said:
            fault = _range_fault(retirement, now)
            if fault is None and not (record is None and _is_within(retirement.record_id, ranges)):
                fault = _record_fault(retirement, record)
            if fault is None and self._stretches and retirement.from_id < self._stretches[-1].retirement.to_id:
                fault = "it overlaps another one"
            if fault is None:
                self._stretches.append(_Stretch(retirement))
            else:
                self.findings.append(Finding("retirement", 0, None, f"{retirement.label}: {fault}; it is not believed"))
        self._starts = [one.retirement.from_id for one in self._stretches]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._stretches:
            if one.export is not None:
                one.export.close()

    def use_exports(self, folder: Path) -> None:
        """Prove what can be proved by the exports in the folder.

        Raises:
            Unreadable: one of them, or the folder, cannot be read.
        """
        for path, manifest in _exports_in(folder):
            for one in self._stretches:
                if manifest.month == one.retirement.label:
                    one.export = ExportedRecords(path)
                    if one.export.sha256 != one.retirement.sha256.hex():
                        self.findings.append(
                            Finding(
                                "retirement", 0, None, f"{manifest.month}: {path} is not the export that was retired"
                            )
                        )

    @classmethod
    def of_exports(cls, folder: Path, *, now: datetime) -> Self:
        """Take what the folder has exports of: without a database these are proof, and nothing is taken on trust."""
        made = cls((), now=now)
        for path, manifest in _exports_in(folder):
            ends_on = date.fromisoformat(f"{manifest.month.removeprefix('before-')}-01")
            is_first = manifest.month.startswith("before-")
            month = Retirement(
                record_id=UUID(int=0),
                label=manifest.month,
                from_id=first_id_of(None if is_first else ends_on),
                to_id=first_id_of(ends_on if is_first else shifted(ends_on, 1)),
                row_count=manifest.rows,
                sha256=bytes.fromhex(manifest.sha256),
                retired_at=manifest.exported_at,
            )
            made._stretches.append(_Stretch(month, ExportedRecords(path)))
        made._stretches.sort(key=lambda one: one.retirement.from_id)
        made._starts = [one.retirement.from_id for one in made._stretches]
        return made

    def stand_in(self, entry: Entry) -> Entry:
        """Give the entry with the hash that its record had, if the record is gone and was retired.

        By its export if there is one; otherwise the chain's own word is taken for it, and counted.
        """
        place = bisect_right(self._starts, entry.record_id) - 1
        if entry.record_hash is not None or place < 0:
            return entry
        one = self._stretches[place]
        if entry.record_id >= one.retirement.to_id:
            return entry
        if one.export is None:
            one.trusted += 1
            return Entry(
                entry.seq, entry.record_id, entry.stored_record_hash, entry.stored_record_hash, entry.chain_hash
            )
        found = one.export.hash_of(entry.record_id)
        one.proved += found is not None
        return Entry(entry.seq, entry.record_id, found, entry.stored_record_hash, entry.chain_hash)

    def count_findings(self) -> Iterator[Finding]:
        """Say which retirements took another number of records than they say; after the whole log was looked at."""
        for one in self._stretches:
            said, seen = one.retirement.row_count, one.proved + one.trusted
            if said != seen:
                detail = f"{one.retirement.label}: it says {said} records, of the chain's {seen} are gone with it"
                yield Finding("retirement", 0, None, detail)

    def lines(self) -> Iterator[str]:
        """Say in words what was retired, and on what grounds it is believed."""
        for one in self._stretches:
            if one.export is not None:
                yield f"{one.retirement.label}: {one.proved} retired records were checked against {one.export.path}"
            else:
                yield (
                    f"{one.retirement.label}, retired on {one.retirement.retired_at:%Y-%m-%d}: {one.trusted} records "
                    "had to be taken on trust; give their export with --exports"
                )


def _range_fault(retirement: Retirement, now: datetime) -> str | None:
    return range_fault(retirement.from_id, retirement.to_id, retired_at=retirement.retired_at, now=now)


def _is_within(record_id: UUID, retirements: Iterable[Retirement]) -> bool:
    """Tell whether the record of a retirement was retired itself, years later."""
    return any(one.from_id <= record_id < one.to_id for one in retirements)


def _record_fault(retirement: Retirement, record: Mapping[str, Any] | None) -> str | None:
    if record is None:
        return "the trail has no record of it"
    said = {name: record.get(name) for name in ("month", "rows", "sha256", "from_id", "to_id")}
    meant = {
        "month": retirement.label,
        "rows": retirement.row_count,
        "sha256": retirement.sha256.hex(),
        "from_id": str(retirement.from_id),
        "to_id": str(retirement.to_id),
    }
    return None if said == meant else "its record in the trail says something else"


def _exports_in(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    if not folder.is_dir():
        raise Unreadable(f"{folder} is no folder.")
    for path in sorted(folder.glob("audit-*.jsonl.gz")):
        if manifest_path(path).exists():
            yield path, read_manifest(path)
