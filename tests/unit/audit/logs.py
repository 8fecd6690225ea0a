"""Logs in memory, and what an attacker with every right on the database can do to them."""

from dataclasses import replace
from uuid import UUID

from telemed.audit.chain.rules import GENESIS, chain_hash, record_hash
from telemed.audit.proof.rules import Entry, Leaf

Log = list[Entry]


def content(number: int, version: int = 0) -> bytes:
    """Give the hash of the record with this number, in this version."""
    return record_hash(f"record {number}, version {version}")


def honest_log(size: int) -> Log:
    """Give a log as the worker makes it."""
    return rechained(
        [Entry(0, UUID(int=number), content(number), content(number), b"") for number in range(1, size + 1)]
    )


def rechained(log: Log) -> Log:
    """Compute the whole chain anew over the entries as they stand, as the attacker would."""
    chain, made = GENESIS, []
    for seq, entry in enumerate(log, start=1):
        stored = entry.record_hash if entry.record_hash is not None else entry.stored_record_hash
        chain = chain_hash(chain, seq, stored)
        made.append(replace(entry, seq=seq, stored_record_hash=stored, chain_hash=chain))
    return made


def leaves_of(log: Log, covered: int) -> list[Leaf]:
    """Give what checkpoints over the first records would hold."""
    return [Leaf(entry.seq, entry.record_id, entry.stored_record_hash) for entry in log[:covered]]
