"""Keeps a primary: the part that the operator (CloudNativePG) plays in production.

What it must never do is promote a replica that lacks a write which somebody was promised. With `ANY 1 (…)` a promised
write is on the primary and on one of the two replicas, nobody knows which. So:

1. Both replicas are cut from the old primary *before* anybody looks how far they are. From then on it can get no
   confirmation, even if it is alive, wakes up later or was wrongly believed dead: it promises nothing any more.
2. The one that received most is promoted. Of two logs that are prefixes of the same one, the longer has all promises.
3. If only one of the two answers, the other may hold the only copy of a promise (two of two are needed to meet every
   quorum of one). Then nobody is promoted: the old primary is ended and started again where it was, from its own disk,
   which has everything. Writes wait meanwhile, reads go on.

The order also serves those who must not write twice: the poolers lead to the new primary only once it is one, and a
former primary is ended (or, for drills, left alive for `fence_after_seconds`) before it comes back as a replica.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field

import asyncpg
from tests.twin.poolers import Pooler, ro_targets, rw_targets
from tests.twin.postgres import Node, Postgres

from telemed.local.problems import LocalProblem

log = logging.getLogger("twin.warden")

LOOKS_EVERY_SECONDS = 0.25
# A primary that ended is noticed at the next look; one that hangs after three answers that took longer, which is about
# three and a half seconds. With two of half a second, a healthy primary on two busy cores was given up now and then.
ANSWERS_WITHIN_SECONDS = 1.0
MISSES = 3
# A look that comes later than it was due says that this process was kept waiting, not that the primary is ill.
LATE_SECONDS = 0.25
# One that is merely busy costs no more than a restart in place; every second here is one without writes.
REPLICA_ANSWERS_WITHIN_SECONDS = 1.5
MENDS_EVERY_SECONDS = 2.0
# A server that does not answer, does not start, or is not what it should be.
UNREACHABLE = (
    *(OSError, TimeoutError, AssertionError, LocalProblem, RuntimeError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError),
)


@dataclass(frozen=True)
class Failover:
    """What was done about a lost primary, in seconds of the monotonic clock."""

    old: str
    new: str  # the same, if it was started again in its place
    noticed_at: float
    writable_at: float

    @property
    def seconds(self) -> float:
        """From noticing until the poolers led to a primary."""
        return self.writable_at - self.noticed_at


@dataclass
class Warden:
    """Watches one cluster; `run` until cancelled."""

    postgres: Postgres
    rw: Pooler
    ro: Pooler
    # A drill lets a zombie live for so long; it is cut from its replicas all the same.
    fence_after_seconds: float = 0.0
    is_watching: bool = True
    failovers: list[Failover] = field(default_factory=list)
    # Being made a replica again: the supervisor leaves it alone.
    in_hand: set[Node] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Whoever changes who is what, or restarts a primary on purpose, holds it.
        self.lock = asyncio.Lock()
        self._watching: asyncpg.Connection | None = None
        self._watched: Node | None = None
        self._rejoining: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch, and act, for ever."""
        misses, mended_at = 0, 0.0
        while True:
            due_at = time.monotonic() + LOOKS_EVERY_SECONDS
            await asyncio.sleep(LOOKS_EVERY_SECONDS)
            if not self.is_watching or self.lock.locked():
                misses = 0
                continue
            primary = self.postgres.primary
            misses = 0 if await self._is_well(primary) else misses + 1
            is_late = time.monotonic() - due_at > ANSWERS_WITHIN_SECONDS + LATE_SECONDS
            if (misses >= MISSES and not is_late) or not primary.is_running:
                misses = 0
                await self._act()
            elif time.monotonic() - mended_at > MENDS_EVERY_SECONDS:
                await self._mend()
                mended_at = time.monotonic()

    async def close(self) -> None:
        """Leave everything as it is."""
        for task in list(self._rejoining):
            task.cancel()
        await asyncio.gather(*self._rejoining, return_exceptions=True)
        self._forget_connection()

    async def fail_over(self) -> Failover:
        """Replace the primary now, whether it is well or not.

        Raises:
            UNREACHABLE: nobody could be made primary; `run` tries again.
        """
        async with self.lock:
            noticed_at = time.monotonic()
            old = self.postgres.primary
            self._forget_connection()
            if self.fence_after_seconds == 0:
                await old.kill()
            new = await self._elect()
            if new is None:
                await self._start_again(old)
            else:
                await self._replace(old, new)
            failover = Failover(old.name, self.postgres.primary.name, noticed_at, time.monotonic())
            self.failovers.append(failover)
            log.warning("%s is lost, %s is the primary", failover.old, failover.new)
            return failover

    async def settled(self) -> None:
        """Wait until every former primary is back as a replica."""
        while self._rejoining:
            await asyncio.gather(*self._rejoining, return_exceptions=True)

    async def _act(self) -> None:
        try:
            await self.fail_over()
        except UNREACHABLE as error:
            log.error("no primary could be made: %s", error)  # noqa: TRY400 - the sentence says it all

    async def _elect(self) -> Node | None:
        """Cut all replicas from the old primary; name the one that has most, or nobody if one does not answer."""
        replicas = [replica for replica in self.postgres.replicas if replica not in self.in_hand]
        promoted = await asyncio.gather(*(_is_primary(replica) for replica in replicas))
        if any(promoted):
            # Elected before, and only its takeover broke off: the old primary has confirmed nothing since.
            return replicas[promoted.index(True)]
        positions = await asyncio.gather(*(self._cut(replica) for replica in replicas))
        known = {
            replica: position for replica, position in zip(replicas, positions, strict=True) if position is not None
        }
        if len(known) < len(self.postgres.replicas):
            return None
        return max(known, key=lambda replica: known[replica])

    async def _cut(self, replica: Node) -> int | None:
        """Give how far the replica's log reaches once it receives no more; None if that cannot be known."""
        try:
            async with asyncio.timeout(REPLICA_ANSWERS_WITHIN_SECONDS):
                await self.postgres.unfollow(replica)
                async with replica.connect(database="postgres") as connection:
                    # Nothing received since its start: its disk may hold more than it has replayed so far.
                    position = await connection.fetchval(
                        "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn "
                        "WHERE pg_last_wal_receive_lsn() IS NOT NULL AND pg_is_in_recovery()"
                    )
                    return None if position is None else int(position)
        except UNREACHABLE:
            return None

    async def _replace(self, old: Node, new: Node) -> None:
        await self.postgres.promote(new)
        self.rw.point(rw_targets(self.postgres))
        self.in_hand.add(old)
        self._point_readers()
        await self._tell(new)
        task = asyncio.create_task(self._bring_back(old))
        self._rejoining.add(task)
        task.add_done_callback(self._rejoining.discard)

    async def _start_again(self, old: Node) -> None:
        """Leave everybody in place; who was cut and cannot be told now is mended by a later look."""
        await old.kill()
        await old.start()
        self.rw.reload()
        await self._tell(old)

    async def _tell(self, primary: Node) -> None:
        replicas = [replica for replica in self.postgres.replicas if replica not in self.in_hand]
        await asyncio.gather(*(self._lead(replica, primary) for replica in replicas))

    async def _lead(self, replica: Node, primary: Node) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with asyncio.timeout(REPLICA_ANSWERS_WITHIN_SECONDS):
                await self.postgres.follow(replica, primary)

    async def _bring_back(self, old: Node) -> None:
        await asyncio.sleep(self.fence_after_seconds)
        while True:
            try:
                await self.postgres.rejoin(old, self.postgres.primary)
                break
            except UNREACHABLE as error:
                log.warning("%s is not back yet: %s", old.name, error)
                await asyncio.sleep(1)
        self.in_hand.discard(old)
        self._point_readers()

    def _point_readers(self) -> None:
        """Lead each alias to its replica; that of one that is away to one that is there."""
        there = [replica for replica in self.postgres.replicas if replica not in self.in_hand]
        if there:
            places = [replica if replica in there else there[0] for replica in self.postgres.replicas]
            self.ro.point(ro_targets(places))

    async def _mend(self) -> None:
        """Let every replica follow the primary, also one that was away when that changed."""
        primary = self.postgres.primary
        for replica in self.postgres.replicas:
            if replica in self.in_hand or not replica.is_running or replica.frozen:
                continue
            with contextlib.suppress(*UNREACHABLE):
                if not await _follows(replica, primary):
                    async with self.lock:
                        await self.postgres.follow(replica, primary)

    async def _is_well(self, primary: Node) -> bool:
        if not primary.is_running:
            return False
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
                if self._watching is None or self._watched is not primary:
                    self._forget_connection()
                    self._watching = await asyncpg.connect(primary.dsn(database="postgres"), statement_cache_size=0)
                    self._watched = primary
                return await self._watching.fetchval("SELECT NOT pg_is_in_recovery()") is True
        except UNREACHABLE:
            self._forget_connection()
            return False

    def _forget_connection(self) -> None:
        if self._watching is not None:
            self._watching.terminate()
            self._watching = None


async def _is_primary(node: Node) -> bool:
    try:
        async with node.connect(database="postgres", within_seconds=1) as connection:
            return bool(await connection.fetchval("SELECT NOT pg_is_in_recovery()"))
    except UNREACHABLE:
        return False


async def _follows(replica: Node, primary: Node) -> bool:
    async with replica.connect(database="postgres", within_seconds=1) as connection:
        conninfo = await connection.fetchval("SELECT current_setting('primary_conninfo')")
    return f" port={primary.port} " in str(conninfo)
