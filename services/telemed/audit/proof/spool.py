"""The log's hashes in a temporary file: read once from wherever the log is, then walked as often as it takes."""

import struct
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self
from uuid import UUID

from telemed.audit.proof.rules import Entry

_RECORD = struct.Struct(">q16s?32s32s32s")
_AT_ONCE = 4096  # records


class Spool:
    """Some 120 bytes a record on disk, next to nothing in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, entry: Entry) -> None:
        """Add the log's next entry."""
        found = entry.record_hash
        self._file.write(
            _RECORD.pack(
                entry.seq,
                entry.record_id.bytes,
                found is not None,
                found or b"",
                entry.stored_record_hash,
                entry.chain_hash,
            )
        )

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add the log's next entries."""
        for entry in entries:
            self.append(entry)

    def entries(self) -> Iterator[Entry]:
        """Walk the log from its beginning."""
        self._file.seek(0)
        while block := self._file.read(_RECORD.size * _AT_ONCE):
            for seq, record_id, is_there, found, stored, chain in _RECORD.iter_unpack(block):
                yield Entry(seq, UUID(bytes=record_id), found if is_there else None, stored, chain)
