"""Locks on things that have no row yet, for the length of a transaction."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.direct import Direct, direct_of

_LOCK = "SELECT FROM pg_advisory_xact_lock($1)"


def lock_number(kind: str, thing: UUID) -> int:
    """Give the number of the advisory lock on a thing."""
    digest = hashlib.sha256(f"{kind}/{thing}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def lock_thing(transaction: AsyncSession | Direct, kind: str, thing: UUID) -> None:
    """Wait until no other transaction holds this lock, then hold it until this one ends.

    Transaction-scoped, so it works through a pooler in transaction mode and cannot be left behind. Take it before
    any row lock: that order keeps deadlocks away.
    """
    await direct_of(transaction).changes(_LOCK, lock_number(kind, thing))


@contextmanager
def timed_lock(direct: Direct) -> Iterator[None]:
    """Measure how long the row that is locked in the context was waited for, also in vain."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        direct.note_lock_wait(time.perf_counter() - begun)
