"""Exported months: `TABLE-MONTH.jsonl.gz` and, written after it, `TABLE-MONTH.manifest.json`; without that it is none.

A line of the trail is the record's canonical JSON, the very text whose SHA-256 the chain holds; a line of another table
is the row as PostgreSQL writes it as JSON, instants in UTC. *sha256* is that of the lines, not of the compressed file.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from telemed.audit.proof.lines import MAX_LINE_BYTES, Unreadable, replaced
from telemed.kernel.partitions import MonthlyTable

_SUFFIX = ".jsonl.gz"


class Manifest(BaseModel):
    """What an export holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1] = 1
    table: MonthlyTable
    month: Annotated[str, StringConstraints(pattern=r"^(before-)?\d{4}-(0[1-9]|1[0-2])$")]
    rows: Annotated[int, Field(strict=True, ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    first_id: str | None
    last_id: str | None
    exported_at: AwareDatetime


class LineWriter:
    """Takes lines, and counts and hashes them."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.rows = 0

    def write(self, line: str) -> None:
        """Add one line."""
        content = line.encode() + b"\n"
        self._file.write(content)
        self._hash.update(content)
        self.rows += 1

    @property
    def sha256(self) -> str:
        """Give the hash of all lines so far."""
        return self._hash.hexdigest()


def export_path(folder: Path, table: MonthlyTable, month: str) -> Path:
    """Give the name of an export."""
    return folder / f"{table}-{month}{_SUFFIX}"


def manifest_path(exported: Path) -> Path:
    """Give the name of the manifest that belongs to an export."""
    return exported.with_name(exported.name.removesuffix(_SUFFIX) + ".manifest.json")


@contextmanager
def written_lines(path: Path) -> Iterator[LineWriter]:
    """Write an export that appears under its name complete and on disk, or not at all.

    Raises:
        Unreadable: it is there already, or cannot be written.
    """
    for one in (path, manifest_path(path)):
        if one.exists():
            raise Unreadable(f"{one} is there already; an export is never written over.")
    # No name and no time in the header: the same rows give the same file.
    with replaced(path) as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as compressed:
        yield LineWriter(compressed)


def write_manifest(exported: Path, manifest: Manifest) -> None:
    """Say what the export holds; from now on it counts as one."""
    with replaced(manifest_path(exported)) as file:
        file.write(manifest.model_dump_json(indent=2).encode() + b"\n")


def read_manifest(exported: Path) -> Manifest:
    """Read the manifest of an export.

    Raises:
        Unreadable: there is none, or it is no manifest.
    """
    path = manifest_path(exported)
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise Unreadable(f"{path} is no manifest of an export.") from error


def exported_lines(path: Path) -> Iterator[bytes]:
    """Give the lines of an export, without their ends.

    Raises:
        Unreadable: it cannot be read, was cut off, or is no such file.
    """
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
                    raise Unreadable(f"{path} is no export: a line of it does not end.")
                yield line[:-1]
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        raise Unreadable(f"{path} cannot be read: {reason}.") from error


def content_of(path: Path) -> tuple[int, str]:
    """Count and hash the lines of an export."""
    rows, digest = 0, hashlib.sha256()
    for line in exported_lines(path):
        rows += 1
        digest.update(line + b"\n")
    return rows, digest.hexdigest()
