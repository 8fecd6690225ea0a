"""Every statement on the throttling tables."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.throttling.models import KnownAddress, LoginBucket


async def lock_buckets(session: AsyncSession, buckets: Iterable[bytes], *, now: datetime) -> dict[bytes, datetime]:
    """Get the buckets, made if need be, and lock their rows until the transaction ends.

    In order of their hashes, so that two attempts that share buckets queue instead of deadlocking.
    """
    rows = [{"bucket": bucket, "clears_at": now} for bucket in sorted(buckets)]
    wanted = insert(LoginBucket).values(rows)
    # Assigning its own value is what locks a row that exists and makes RETURNING give it.
    locked = wanted.on_conflict_do_update(
        index_elements=["bucket"], set_={"clears_at": col(LoginBucket.clears_at)}
    ).returning(col(LoginBucket.bucket), col(LoginBucket.clears_at))
    return {row.bucket: row.clears_at for row in await session.execute(locked)}


async def write_buckets(session: AsyncSession, clears: Mapping[bytes, datetime]) -> None:
    """Store when the buckets, which the caller has locked, will be empty."""
    for bucket, clears_at in clears.items():
        await session.execute(update(LoginBucket).where(col(LoginBucket.bucket) == bucket).values(clears_at=clears_at))


async def is_known_address(session: AsyncSession, *, account: bytes, address: bytes) -> bool:
    """Tell whether the account's holder was seen at the address."""
    found = await session.scalar(
        select(col(KnownAddress.account)).where(
            col(KnownAddress.account) == account, col(KnownAddress.address) == address
        )
    )
    return found is not None


async def remember_address(session: AsyncSession, *, account: bytes, address: bytes, now: datetime) -> None:
    """Note that the account's holder was seen at the address."""
    seen = insert(KnownAddress).values(account=account, address=address, last_seen_at=now)
    await session.execute(seen.on_conflict_do_update(index_elements=["account", "address"], set_={"last_seen_at": now}))


async def forget_buckets(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete buckets that were empty *before*; index login_buckets_age."""
    old = (
        select(col(LoginBucket.bucket))
        .where(col(LoginBucket.clears_at) < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = await session.execute(delete(LoginBucket).where(col(LoginBucket.bucket).in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # a DELETE gives a CursorResult


async def forget_addresses(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete addresses that nobody was seen at since *before*; index known_addresses_age."""
    old = (
        select(KnownAddress.account, KnownAddress.address)  # type: ignore[call-overload]  # columns, typed by sqlmodel as their values
        .where(col(KnownAddress.last_seen_at) < before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    place = tuple_(col(KnownAddress.account), col(KnownAddress.address))
    gone = await session.execute(delete(KnownAddress).where(place.in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]  # a DELETE gives a CursorResult
