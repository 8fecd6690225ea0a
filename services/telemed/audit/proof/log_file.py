"""The exported log: JSON lines {"seq", "record_id", "record_hash", "chain_hash", "record"}, in the chain's order.

*record* is the record's canonical JSON, the very text whose SHA-256 is the record hash, or null if it is gone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from telemed.audit.chain.queries import Link
from telemed.audit.chain.rules import Number, canonical_json, parse_exactly, record_hash
from telemed.audit.proof.lines import Unreadable, read_lines
from telemed.audit.proof.rules import Entry


def log_line(link: Link, canonical: str | None) -> bytes:
    """Write one line; *canonical* is the record's canonical JSON, None if it is gone."""
    line = (
        f'{{"seq":{link.seq},"record_id":"{link.record_id}","record_hash":"{link.record_hash.hex()}",'
        f'"chain_hash":"{link.chain_hash.hex()}","record":{canonical or "null"}}}\n'
    )
    return line.encode("ascii")


def parse_log_line(line: bytes) -> Entry:
    """Read one line and hash its record anew.

    Raises:
        ValueError: with a few words on what is wrong; it quotes nothing.
    """
    try:
        read = parse_exactly(line.decode("utf-8"))
        return _entry(read)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no line of a log") from error


def _entry(read: Any) -> Entry:
    record = read["record"]
    seq = int(read["seq"]) if isinstance(read["seq"], Number) else 0
    if not 0 < seq < 2**63:
        raise ValueError("no sequence number")
    return Entry(
        seq=seq,
        record_id=UUID(read["record_id"]),
        record_hash=record_hash(canonical_json(record)) if record is not None else None,
        stored_record_hash=_digest(read["record_hash"]),
        chain_hash=_digest(read["chain_hash"]),
    )


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != 32:
        raise ValueError("no SHA-256")
    return digest


def read_log(path: Path) -> Iterator[Entry]:
    """Read an exported log.

    Raises:
        Unreadable: naming the file and the line.
    """
    for number, line in read_lines(path):
        try:
            yield parse_log_line(line)
        except ValueError as error:
            raise Unreadable(f"{path}, line {number}: {error}.") from error
