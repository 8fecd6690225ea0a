"""Counting attempts to log in.

An attempt is counted as a failure before the password is compared and taken back when it was right, so that a
thousand guesses sent at once are a thousand counts before the first answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.auth.fingerprints import Fingerprints
from telemed.auth.throttling import queries
from telemed.auth.throttling.rules import (
    ADDRESS,
    ELSEWHERE,
    PAIR,
    Limit,
    after_failure,
    after_success,
    wait_before_next,
)
from telemed.kernel.acts import Act
from telemed.kernel.jobs import FORGOTTEN_AT_ONCE
from telemed.kernel.resources import Resources

KEEP_ADDRESSES_FOR = timedelta(days=90)  # about as long as people keep a provider, a clinic or a phone's network


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody at an address who says to be the holder of an account, which may not exist."""

    account: bytes
    address: bytes

    @classmethod
    def at(cls, fingerprints: Fingerprints, email: str, client_address: str) -> "Attempt":
        """Make it from what the request says."""
        return cls(fingerprints.account(email), fingerprints.address(client_address))

    @property
    def pair(self) -> bytes:
        """Give the bucket of this account at this address."""
        return _bucket("pair", self.account, self.address)


@dataclass(frozen=True, slots=True)
class Counted:
    """An attempt that may be made, and where it was counted: by the time it ends the address may have become known."""

    attempt: Attempt
    limits: Mapping[bytes, Limit]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The attempt may not be made yet."""

    retry_after: timedelta


async def count_attempt(session: AsyncSession, act: Act, attempt: Attempt) -> Counted | Blocked:
    """Count the attempt in every bucket it belongs to, or say why it may not be made; then nothing is counted.

    Locks the buckets: attempts on one account, and from one address, are counted one after the other.
    """
    limits = await _limits(session, attempt)
    clears = await queries.lock_buckets(session, limits, now=act.now)
    waits = [wait_before_next(limit, clears[bucket], now=act.now) for bucket, limit in limits.items()]
    if max(waits) > timedelta(0):
        return Blocked(max(waits))
    counts = {bucket: after_failure(limit, clears[bucket], now=act.now) for bucket, limit in limits.items()}
    await queries.write_buckets(session, counts)
    return Counted(attempt, limits)


async def take_back(session: AsyncSession, act: Act, counted: Counted) -> None:
    """Make the attempt uncounted, because the password was right; at this address the account starts afresh."""
    clears = await queries.lock_buckets(session, counted.limits, now=act.now)
    counts = {bucket: after_success(limit, clears[bucket]) for bucket, limit in counted.limits.items()}
    await queries.write_buckets(session, counts | {counted.attempt.pair: act.now})


async def remember_address(session: AsyncSession, act: Act, attempt: Attempt) -> None:
    """Note that the account's holder was here: from here on, what others try elsewhere no longer matters here."""
    await queries.remember_address(session, account=attempt.account, address=attempt.address, now=act.now)


async def forget_old(resources: Resources) -> int:
    """Delete empty buckets and addresses that were not used for long; returns how many."""
    now = resources.clock.now()
    buckets = await resources.db.transact(queries.forget_buckets, before=now, limit=FORGOTTEN_AT_ONCE)
    addresses = await resources.db.transact(
        queries.forget_addresses, before=now - KEEP_ADDRESSES_FOR, limit=FORGOTTEN_AT_ONCE
    )
    return buckets + addresses


async def _limits(session: AsyncSession, attempt: Attempt) -> dict[bytes, Limit]:
    """Give the buckets that the attempt is counted in.

    An account's holder at a known address is counted there alone: nothing that happens elsewhere, or that others do
    at a shared address, can keep them out.
    """
    if await queries.is_known_address(session, account=attempt.account, address=attempt.address):
        return {attempt.pair: PAIR}
    return {
        attempt.pair: PAIR,
        _bucket("elsewhere", attempt.account): ELSEWHERE,
        _bucket("address", attempt.address): ADDRESS,
    }


def _bucket(kind: str, *parts: bytes) -> bytes:
    """Name a bucket. The parts are keyed hashes of one length already; this only keeps the kinds apart."""
    return kind.encode() + b":" + b"".join(parts)
