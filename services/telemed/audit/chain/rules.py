"""How records become hashes, and hashes a chain. Pure, and simple enough to be written again in any language.

- *Record hash*: SHA-256 over the record's canonical JSON (ASCII): every column, names sorted, no spaces, numbers inside
  `details` exactly as PostgreSQL prints them, and `"v":1` for this very format.
- *Chain hash*: SHA-256 over the previous chain hash (32 bytes; zeros before the first), the sequence number (8 bytes,
  big-endian) and the record hash (32 bytes).
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

FORMAT = 1
MAX_DEPTH = 50  # of `details`; ours are flat
GENESIS = bytes(32)  # the chain hash before the first record

# A checkpoint covers at most this many records, which bounds what is lost to view between two exports and the length of
# an exported line; in a quiet hour one is made after this time.
CHECKPOINT_RECORDS = 1000
CHECKPOINT_EVERY = timedelta(minutes=5)

# The columns of a record besides `details`, as text or null; instants in UTC with six decimals.
TEXT_COLUMNS = (
    "id",
    "recorded_at",
    "actor_id",
    "actor_role",
    "action",
    "outcome",
    "entity_type",
    "entity_id",
    "patient_id",
    "request_id",
    "trace_id",
    "client_address",
)


class Number(str):
    """A JSON number as it was written; 1 and 1.0 differ, and nothing is rounded."""

    __slots__ = ()


def parse_exactly(text: str) -> Any:
    """Parse JSON without losing a digit.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be ours.
    """
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def canonical_json(value: Any, depth: int = 0) -> str:
    """Write what `parse_exactly` read in the one canonical way.

    Raises:
        ValueError: nested deeper than MAX_DEPTH. A limit of our own, as Python's differs between versions.
    """
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name)}:{canonical_json(value[name], depth + 1)}" for name in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical_json(item, depth + 1) for item in value) + "]"
    return json.dumps(value)


def canonical_record(columns: Mapping[str, str | None], details: str) -> str:
    """Write the record in the form that is hashed; *details* as PostgreSQL prints them."""
    record: dict[str, Any] = {name: columns[name] for name in TEXT_COLUMNS} | {"v": Number(FORMAT)}
    try:
        return canonical_json(record | {"details": parse_exactly(details)})
    except ValueError:
        # Nested too deeply to be ours. Hashed as a text, so that one odd record does not stop the chain.
        return canonical_json(record | {"details": details})


def record_hash(canonical: str) -> bytes:
    """Hash a record's canonical JSON."""
    return hashlib.sha256(canonical.encode("ascii")).digest()


def missing_record_hash(record_id: UUID) -> bytes:
    """Hash what stands in the chain for a record that was gone before it could be chained."""
    return record_hash(canonical_json({"id": str(record_id), "missing": True, "v": Number(FORMAT)}))


def chain_hash(previous: bytes, seq: int, record: bytes) -> bytes:
    """Link a record to all before it."""
    return hashlib.sha256(previous + seq.to_bytes(8, "big", signed=True) + record).digest()


def checkpoint_due(*, chained: int, covered: int, last_made_at: datetime | None, now: datetime) -> bool:
    """Tell whether a checkpoint is to be made, with *chained* records of which *covered* lie in earlier ones."""
    if chained == covered:
        return False
    if chained - covered >= CHECKPOINT_RECORDS or last_made_at is None:
        return True
    return now - last_made_at >= CHECKPOINT_EVERY
