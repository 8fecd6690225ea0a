"""Places in the write-ahead log, and how far in the past a place lies."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# Samples are taken about once a second; further back nobody asks (settings: REPLICA_MAX_LAG_SECONDS is at most 60).
_SAMPLES = 120

# On the primary: what is on its disk, and its timeline. Every acknowledged commit is there (unless nobody waits for the
# disk; then what was inserted counts); what is only written is not sent to replicas yet, and would be waited for in
# vain. On a standby: what was replayed, and the newest timeline that reached it as data (worker/timelines.py), since
# no function tells an ordinary role which one it follows.
_STANDING = text(
    """
    SELECT NOT (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean) AS takes_writes,
        CASE WHEN pg_is_in_recovery() THEN coalesce((SELECT max(timeline) FROM platform.timelines), 0)
             ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END AS timeline,
        (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
              WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()
              ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint AS lsn,
        CASE WHEN pg_is_in_recovery()
             THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END AS replayed_before
    """
)


@dataclass(frozen=True, slots=True)
class WalPosition:
    """A place in the write-ahead log: bytes from its beginning, on a timeline that each promotion counts up."""

    timeline: int
    lsn: int

    def covers(self, other: Self) -> bool:
        """Tell whether whoever stands here has everything that was acknowledged up to *other*.

        On an older timeline it may not: a former primary writes bytes there that the others never had. On a newer one
        it does, as a promotion keeps what was acknowledged.
        """
        return self.timeline >= other.timeline and self.lsn >= other.lsn


# No replica ever gets here: for "the primary only".
BEYOND_ALL = WalPosition(timeline=2**31 - 1, lsn=2**63 - 1)


def furthest(positions: Iterable[WalPosition]) -> WalPosition | None:
    """Give a position that covers all of these; None if there are none."""
    all_of_them = list(positions)
    if not all_of_them:
        return None
    return WalPosition(max(p.timeline for p in all_of_them), max(p.lsn for p in all_of_them))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server says of itself.

    *takes_writes*: it is no standby, nor has anybody told it to be read-only, as providers do when its disk is full.
    *replayed_before* is the age of the last commit that a standby replayed.
    """

    takes_writes: bool
    position: WalPosition
    replayed_before: timedelta | None


async def standing(session: AsyncSession) -> Standing:
    """Ask the server where it stands."""
    row = (await session.execute(_STANDING)).one()
    age = timedelta(seconds=max(0.0, float(row.replayed_before))) if row.replayed_before is not None else None
    return Standing(row.takes_writes, WalPosition(row.timeline, row.lsn), age)


class PrimaryTrack:
    """Where the primary was when: tells how old a replica's state is without trusting the replica's own word.

    Instants are of the event loop's clock, in seconds.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, WalPosition]] = deque(maxlen=_SAMPLES)

    @property
    def knows_something(self) -> bool:
        """Tell whether there is any sample."""
        return bool(self._samples)

    def note(self, at: float, position: WalPosition) -> None:
        """Note a position that the primary had at that instant, or after it."""
        self._samples.append((at, position))

    def age_of(self, position: WalPosition, now: float) -> timedelta | None:
        """Give the time for which a state at *position* may lack what the primary did; None if nothing is known."""
        for at, seen in reversed(self._samples):
            if position.covers(seen):
                return timedelta(seconds=max(0.0, now - at))
        return None
