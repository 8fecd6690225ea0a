"""Locks on things that have no row yet, for the length of a transaction."""

import hashlib
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

_LOCK = text("SELECT pg_advisory_xact_lock(:number)")


async def lock_thing(session: AsyncSession, kind: str, thing: UUID) -> None:
    """Wait until no other transaction holds this lock, then hold it until this one ends.

    Transaction-scoped, so it works through a pooler in transaction mode and cannot be left behind. Take it before
    any row lock: that order keeps deadlocks away.
    """
    digest = hashlib.sha256(f"{kind}/{thing}".encode()).digest()
    await session.execute(_LOCK, {"number": int.from_bytes(digest[:8], "big", signed=True)})
