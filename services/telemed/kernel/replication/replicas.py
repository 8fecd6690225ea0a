"""Reads from replicas: who is near enough, who answers, and what else if nobody is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.database import Database
from telemed.kernel.engine import raw_connection
from telemed.kernel.problems import Overloaded, Unavailable
from telemed.kernel.replication.positions import BEYOND_ALL, PrimaryTrack, Standing, WalPosition, standing
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.metrics import Metrics

T = TypeVar("T")

# A replica that is nearly there is waited for, in steps.
_STEP_SECONDS = 0.005
# The connection and the first answer of a replica; a healthy one needs a millisecond or two.
_CHECK_WITHIN_SECONDS = 0.3
# A read that takes longer is given up here and asked of somebody else.
_READ_WITHIN_SECONDS = 3.0
# So long a replica that was found behind is asked, but not waited for by those who need as much: it would be in vain.
_REMEMBER_BEHIND_SECONDS = 0.25
# A read that falls back to the primary waits so long for its turn before it is refused.
_TURN_WITHIN_SECONDS = 0.25


class NoReplica(Exception):
    """No replica could answer; *reason* says why, in the words of the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Behind(Exception):
    """This replica lacks what the caller needs."""


class _NotAnswering(Exception):
    """This replica did not answer in time, or refused."""


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """What a read brought. *age* is set when it may lack that much of what happened."""

    value: T
    age: timedelta | None = None


class Replica:
    """One standby; or one try of those that take turns behind an address.

    The transaction that reads also looks where its server stands, so it does not matter which one the pooler chose.
    """

    def __init__(self, number: int, url: str, *, settings: Settings, track: PrimaryTrack, metrics: Metrics) -> None:
        bounded = settings.model_copy(
            update={
                "database_connect_timeout_seconds": _CHECK_WITHIN_SECONDS,
                "database_pool_timeout_seconds": _CHECK_WITHIN_SECONDS,
                "database_command_timeout_seconds": _READ_WITHIN_SECONDS,
            }
        )
        self.name = f"replica-{number}"
        self.db = Database(url, settings=bounded, metrics=metrics, name=self.name)
        self._track = track
        self._lag = metrics.replica_lag.labels(self.name)
        self._max_lag = timedelta(seconds=settings.replica_max_lag_seconds)
        self._behind: tuple[float, WalPosition] = (0.0, WalPosition(0, 0))

    async def read(
        self,
        operation: Callable[[AsyncSession], Awaitable[T]],
        at_least: WalPosition | None,
        give_up_at: float,
    ) -> T:
        """Run the operation here, on a state that has *at_least* everything up to there.

        *give_up_at*, an instant of the event loop's clock, says how long to wait for it to catch up.

        Raises:
            _Behind: it lags, and did not catch up while it was waited for.
            _NotAnswering: it does not answer.
            Problem: what the operation raised.
        """
        if at_least is not None and self._is_known_behind(at_least):
            give_up_at = 0.0

        async def checked(session: AsyncSession) -> T | _Behind:
            # In the same transaction as the read: the next one may be another server's.
            # Returned and not raised: the transaction is well, and its connection goes back into the pool.
            if not await self._is_near(session, at_least, give_up_at):
                return _Behind()
            return await operation(session)

        found = await self._answered(checked)
        if isinstance(found, _Behind):
            raise found
        return found

    async def read_however_old(self, operation: Callable[[AsyncSession], Awaitable[T]]) -> Served[T]:
        """Run the operation on whatever state there is, and say how old that may be.

        Raises:
            _NotAnswering: it does not answer.
        """

        async def dated(session: AsyncSession) -> Served[T]:
            age = self._age(await standing(session))
            return Served(await operation(session), age)

        return await self._answered(dated)

    def note(self, found: Standing, asked_at: float) -> bool:
        """Measure the lag where the look-out found this replica; any server that answers reads is well."""
        age = self._track.age_of(found.position, asked_at)
        if age is not None:
            self._lag.set(age.total_seconds())
        return True

    async def _answered(self, operation: Callable[[AsyncSession], Awaitable[T]]) -> T:
        try:
            return await self.db.read(operation)
        except (Unavailable, Overloaded) as problem:
            raise _NotAnswering from problem

    async def _is_near(self, session: AsyncSession, at_least: WalPosition | None, give_up_at: float) -> bool:
        """Wait until the replica has caught up, for a moment at most.

        Each look takes a new snapshot (READ COMMITTED), and so does the read that follows.
        """
        loop = asyncio.get_running_loop()
        # A frozen server does not even answer a cancellation: the socket is torn down, which ends the look at once.
        connection = await raw_connection(session)
        bound = loop.call_at(max(give_up_at, loop.time()) + _CHECK_WITHIN_SECONDS, connection.terminate)
        try:
            while not self._suffices(await standing(session), at_least):
                if at_least is None or loop.time() >= give_up_at:
                    self._remember_behind(at_least)
                    return False
                await asyncio.sleep(_STEP_SECONDS)
        finally:
            bound.cancel()
        return True

    def _suffices(self, found: Standing, at_least: WalPosition | None) -> bool:
        if at_least is not None and not found.position.covers(at_least):
            return False
        age = self._track.age_of(found.position, asyncio.get_running_loop().time())
        return age is not None and age <= self._max_lag

    def _age(self, found: Standing) -> timedelta:
        age = self._track.age_of(found.position, asyncio.get_running_loop().time())
        return age or found.replayed_before or timedelta()

    def _remember_behind(self, at_least: WalPosition | None) -> None:
        if at_least is not None:
            self._behind = (asyncio.get_running_loop().time(), at_least)

    def _is_known_behind(self, at_least: WalPosition) -> bool:
        seen_at, lacked = self._behind
        return at_least.covers(lacked) and asyncio.get_running_loop().time() - seen_at < _REMEMBER_BEHIND_SECONDS


class Replicas:
    """Every replica of this process, asked in turn."""

    def __init__(self, urls: list[str], *, settings: Settings, track: PrimaryTrack, metrics: Metrics) -> None:
        self._all = [
            Replica(number, url, settings=settings, track=track, metrics=metrics)
            for number, url in enumerate(urls, start=1)
        ]
        self._turn = 0
        self._wait_seconds = settings.replica_wait_seconds
        self._metrics = metrics
        self._fallbacks = asyncio.Semaphore(settings.primary_fallback_reads)

    def __bool__(self) -> bool:
        return bool(self._all)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look after the replicas for as long as the context lasts."""
        async with AsyncExitStack() as stack:
            for replica in self._all:
                await stack.enter_async_context(replica.db.watched(replica.note))
            yield

    async def close(self) -> None:
        """Close every connection."""
        for replica in self._all:
            await replica.db.close()

    async def read(self, operation: Callable[[AsyncSession], Awaitable[T]], at_least: WalPosition | None) -> T:
        """Run a read on a replica that has *at_least* everything up to there, and lags no more than it may.

        Raises:
            NoReplica: none could.
            Problem: what the operation raised; a replica's "no" may be the primary's "yes".
        """
        if at_least == BEYOND_ALL:
            raise NoReplica("primary_wanted")
        reason = "unavailable" if self._all else "none"
        # One moment for all of them: a second replica is asked whether it is near, not waited for once more.
        give_up_at = asyncio.get_running_loop().time() + self._wait_seconds
        for replica in self._in_turn():
            try:
                found = await replica.read(operation, at_least, give_up_at)
            except _Behind:
                reason = "behind"
            except _NotAnswering:
                continue
            else:
                self._metrics.reads.labels("replica", "near").inc()
                return found
        raise NoReplica(reason)

    async def read_however_old(self, operation: Callable[[AsyncSession], Awaitable[T]]) -> Served[T]:
        """Run a read on whichever replica answers, for the time without a primary.

        Raises:
            Unavailable: none does.
            Problem: what the operation raised.
        """
        for replica in self._in_turn():
            try:
                found = await replica.read_however_old(operation)
            except _NotAnswering:
                continue
            self._metrics.reads.labels("replica", "no_primary").inc()
            return found
        raise Unavailable

    @asynccontextmanager
    async def primary_instead(self, reason: str) -> AsyncIterator[None]:
        """Take a place among the reads that the primary serves in the replicas' stead; there are few.

        Raises:
            Overloaded: none became free in time; writes need the primary more.
        """
        if not self._all:
            yield  # the primary serves every read, and its pool is the bound
            return
        try:
            async with asyncio.timeout(_TURN_WITHIN_SECONDS):
                await self._fallbacks.acquire()
        except TimeoutError as error:
            self._metrics.reads.labels("nobody", reason).inc()
            raise Overloaded from error
        try:
            self._metrics.reads.labels("primary", reason).inc()
            yield
        finally:
            self._fallbacks.release()

    def _in_turn(self) -> list[Replica]:
        self._turn += 1
        start = self._turn % max(1, len(self._all))
        ordered = self._all[start:] + self._all[:start]
        return [replica for replica in ordered if not replica.db.availability.is_down]
