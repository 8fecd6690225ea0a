"""Exported checkpoints: JSON lines that hold every record's hash, to be kept where the database's masters cannot reach.

A line: {"v", "from_seq", "to_seq", "previous_chain_hash", "chain_hash", "made_at", "leaves": [[record id, hash], …]},
and, if a key was there, "signature" (Ed25519, hex, over the line without it and without its line break).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from telemed.audit.chain.queries import CheckpointRow, Link
from telemed.audit.chain.rules import CHECKPOINT_RECORDS, chain_hash
from telemed.audit.proof.lines import Unreadable, read_lines
from telemed.audit.proof.rules import Leaf
from telemed.kernel.text import rfc3339

_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Seq = Annotated[int, Field(strict=True, ge=1, lt=2**63)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    v: Literal[1]
    from_seq: _Seq
    to_seq: _Seq
    previous_chain_hash: _Hash
    chain_hash: _Hash
    made_at: AwareDatetime
    leaves: Annotated[list[tuple[UUID, _Hash]], Field(max_length=CHECKPOINT_RECORDS)]
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One exported checkpoint."""

    from_seq: int
    to_seq: int
    previous_chain_hash: bytes
    chain_hash: bytes
    made_at: datetime
    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, row: CheckpointRow, links: Iterable[Link]) -> "Checkpoint":
        """Put the database's checkpoint together with the links that it covers."""
        leaves = tuple(Leaf(link.seq, link.record_id, link.record_hash) for link in links)
        return cls(row.from_seq, row.to_seq, row.previous_chain_hash, row.chain_hash, row.made_at, leaves)

    def render(self, key: Ed25519PrivateKey | None = None) -> bytes:
        """Write the line, signed if there is a key."""
        members = self._members()
        if key is not None:
            members["signature"] = key.sign(_compact(members)).hex()
        return _compact(members) + b"\n"

    def is_signed_by(self, key: Ed25519PublicKey, signature: str) -> bool:
        """Tell whether the owner of the key signed exactly this checkpoint."""
        try:
            key.verify(bytes.fromhex(signature), _compact(self._members()))
        except InvalidSignature:
            return False
        return True

    def _members(self) -> dict[str, Any]:
        return {
            "v": 1,
            "from_seq": self.from_seq,
            "to_seq": self.to_seq,
            "previous_chain_hash": self.previous_chain_hash.hex(),
            "chain_hash": self.chain_hash.hex(),
            "made_at": rfc3339(self.made_at),
            "leaves": [[str(leaf.record_id), leaf.record_hash.hex()] for leaf in self.leaves],
        }

    def fault(self) -> str | None:
        """Say what is wrong with the checkpoint in itself; None if its hashes add up."""
        if [leaf.seq for leaf in self.leaves] != list(range(self.from_seq, self.to_seq + 1)):
            return "its leaves are not those of its range"
        chain = self.previous_chain_hash
        for leaf in self.leaves:
            chain = chain_hash(chain, leaf.seq, leaf.record_hash)
        return None if chain == self.chain_hash else "its leaves do not add up to its chain hash"


def _compact(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def parse_checkpoint(line: bytes, key: Ed25519PublicKey | None = None) -> Checkpoint:
    """Read one line; with a key, only if its owner signed it.

    Raises:
        ValueError: with a few words on what is wrong; it quotes nothing.
    """
    try:
        read = _Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"it is no checkpoint ({where or 'line'}: {first['msg']})") from error
    leaves = tuple(
        Leaf(read.from_seq + place, record_id, bytes.fromhex(digest))
        for place, (record_id, digest) in enumerate(read.leaves)
    )
    checkpoint = Checkpoint(
        read.from_seq,
        read.to_seq,
        bytes.fromhex(read.previous_chain_hash),
        bytes.fromhex(read.chain_hash),
        read.made_at,
        leaves,
    )
    fault = checkpoint.fault()
    if fault is not None:
        raise ValueError(fault)
    if key is not None and (read.signature is None or not checkpoint.is_signed_by(key, read.signature)):
        raise ValueError("it is not signed with this key" if read.signature else "it is not signed")
    return checkpoint


def read_checkpoints(path: Path, key: Ed25519PublicKey | None = None) -> Iterator[Checkpoint]:
    """Read a file of checkpoints and check that each one continues the one before.

    Raises:
        Unreadable: naming the file and the line.
    """
    last: Checkpoint | None = None
    for number, line in read_lines(path):
        try:
            checkpoint = parse_checkpoint(line, key)
        except ValueError as error:
            raise Unreadable(f"{path}, line {number}: {error}.") from error
        if last is not None and (checkpoint.from_seq, checkpoint.previous_chain_hash) != (
            last.to_seq + 1,
            last.chain_hash,
        ):
            raise Unreadable(f"{path}, line {number}: it does not continue the checkpoint before it.")
        last = checkpoint
        yield checkpoint
