"""The only module that begins, commits, rolls back and retries transactions.

Every connection works through PgBouncer in transaction mode: no prepared statement outlives its transaction, no
session state is set, no session lock is taken.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import asyncpg
from sqlalchemy import PoolProxiedConnection, event
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.background import in_background
from telemed.kernel.cache.single_flight import SingleFlight
from telemed.kernel.deadline import begin_commit, require_time
from telemed.kernel.direct import DIRECT, DRIVER_ERRORS, Direct, StatementFailed
from telemed.kernel.engine import RawConnection, Session, make_engine
from telemed.kernel.problems import OutcomeUnknown, Overloaded, Problem, Unavailable
from telemed.kernel.replication.availability import LOOK_WITHIN_SECONDS, Availability
from telemed.kernel.replication.positions import Standing, standing
from telemed.kernel.settings import Settings
from telemed.kernel.sqlstates import (
    OVERLOADED,
    READ_ONLY,
    REFUSED,
    RETRIED,
    is_disconnect,
    sqlstate,
    violated_constraint,
)
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.pools import PoolGauges
from telemed.kernel.telemetry.spans import Kind, span
from telemed.kernel.telemetry.statements import DATABASE, trace_statements

log = get_logger("database")

P = ParamSpec("P")
T = TypeVar("T")
# What may be raised in place of a violated constraint; services register theirs by the constraint's name.
ConstraintProblems = Mapping[str, type[Problem]]

# A transaction that lost a serialization race or a deadlock is run again; the others have gone on by then.
MAX_ATTEMPTS = 5
# Waiting for COMMIT has no bound on the server (synchronous replication); ours is far above any healthy commit.
COMMIT_TIMEOUT_SECONDS = 8.0
# A failover takes seconds; whoever is told to come back sooner would only be told again.
_RETRY_WHILE_DOWN = timedelta(seconds=2)
# The least that makes a COMMIT wait: a word in the write-ahead log, and no row anywhere.
_MARK = "SELECT FROM pg_logical_emit_message(true, 'telemed.confirm', '')"


class _LostRace(Exception):
    """A serialization race or a deadlock; the transaction can be run again."""


class Database:
    """One database role's pool of connections to one server."""

    def __init__(
        self,
        url: str,
        *,
        settings: Settings,
        metrics: Metrics,
        constraint_problems: ConstraintProblems | None = None,
        name: str = "primary",
        pool: str | None = None,
    ) -> None:
        self._url = url
        self._settings = settings
        self._constraint_problems = dict(constraint_problems or {})
        self._metrics = metrics
        self._positions: SingleFlight[Standing] = SingleFlight()
        self.availability = Availability(name, metrics=metrics, recovered=self._renew_connections)
        # Connections whose last COMMIT was acknowledged by the primary alone though replicas were to confirm it.
        self._local_only: WeakSet[RawConnection] = WeakSet()
        self._engine = make_engine(url, settings)
        # Below the driver's bound on every command: that one would send a cancel request (see `_commit`).
        self._commit_within_seconds = min(COMMIT_TIMEOUT_SECONDS, 0.8 * settings.database_command_timeout_seconds)
        self._gauges = PoolGauges(pool or name, self._engine, settings.database_pool_size, metrics)
        self._keep_commits_to_ourselves()
        trace_statements(self._engine)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def transact(
        self, operation: Callable[Concatenate[AsyncSession, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the operation as one transaction and return its result once that is committed.

        Runs the operation again, at most MAX_ATTEMPTS times, when it lost a serialization race or a deadlock; so it
        must have no effect outside of the session.

        Raises:
            DeadlineExceeded: there is no time left to begin, or to commit.
            OutcomeUnknown: the connection broke during COMMIT.
            Overloaded: no connection became free in time.
            Unavailable: the server cannot be reached or does not accept writes.
            Problem: what the operation raised, or what its service registered for the violated constraint.
        """

        async def run(session: AsyncSession) -> T:
            return await operation(session, *args, **kwargs)

        return await self._repeat(lambda: self._once(run))

    async def transact_directly(
        self, operation: Callable[Concatenate[Direct, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `transact`, past SQLAlchemy, for an operation that is hot enough to be written as single statements.

        The transaction begins with the operation's first `change`. One that only looked has none, so whoever leaves
        after a look costs one round trip, and no lock.

        Raises:
            As `transact`. What the server says and nobody has a problem for is a `StatementFailed`.
        """

        async def run(direct: Direct) -> T:
            return await operation(direct, *args, **kwargs)

        return await self._repeat(lambda: self._once_directly(run))

    async def _repeat(self, once: Callable[[], Awaitable[T]]) -> T:
        """Run it, and again when it lost a race."""
        if self.availability.is_down:
            self._count("unavailable")
            raise Unavailable(retry_after=_RETRY_WHILE_DOWN)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            require_time()
            try:
                return await self._attempt(once)
            except _LostRace as lost:
                if attempt == MAX_ATTEMPTS:
                    raise Overloaded from lost
                self._count("retried")
            # Jitter, so that the same two transactions do not meet again.
            pause = random.uniform(0.005, 0.02) * 2**attempt  # noqa: S311 - not a secret
            require_time(pause)
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def confirm(self) -> None:
        """Wait until all that is committed by now is as durable as what this writes: on a replica, where one is asked.

        Who only reads waits for no replica, and may see what no replica has: of a transaction whose own wait was cut
        short, as its connection was ended or its server started anew.

        Raises:
            As `transact`.
        """

        async def mark(direct: Direct) -> None:
            direct.change_at_the_end(_MARK)

        await self.transact_directly(mark)

    async def read(
        self, operation: Callable[Concatenate[AsyncSession, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation that writes nothing. Never use it to decide a write.

        Raises:
            Overloaded, Unavailable: as `transact`.
        """

        async def run(session: AsyncSession) -> T:
            return await operation(session, *args, **kwargs)

        return await self._repeat(lambda: self._once(run, read_only=True))

    async def read_directly(self, operation: Callable[[Direct], Awaitable[T]]) -> T:
        """Do as `read`, past SQLAlchemy and without a transaction: each statement is a state of its own.

        Raises:
            Overloaded, Unavailable: as `transact`.
        """
        return await self._repeat(lambda: self._once_directly(operation, read_only=True))

    async def standing(self) -> Standing:
        """Ask the server where it stands, after everything that was committed before this call.

        Those who ask at once share one question, unless it had been sent before they came.
        """
        return await self._positions.run_next("standing", lambda: self.read(standing))

    @asynccontextmanager
    async def watched(self, look: Callable[[Standing, float], bool]) -> AsyncIterator[None]:
        """Look after the server for as long as the context lasts, on a connection of its own.

        *look* judges where the server stands, and hears when it was asked (of the event loop's clock); without an
        answer, or with a wrong one, requests are refused at once.
        """
        bound = LOOK_WITHIN_SECONDS
        settings = self._settings.model_copy(
            update={
                "database_pool_size": 1,
                "database_pool_timeout_seconds": bound,
                "database_connect_timeout_seconds": bound,
                "database_command_timeout_seconds": bound,
            }
        )
        # With metrics of its own, which nobody reads: its looks are no transactions of the platform.
        lookout = Database(self._url, settings=settings, metrics=Metrics())

        async def is_well() -> bool:
            if self.availability.is_down:
                # Some settings are a connection's from its beginning: what a new one finds is what requests would.
                await lookout._renew_connections()
            asked_at = asyncio.get_running_loop().time()
            return look(await lookout.read(standing), asked_at)

        try:
            async with in_background(self.availability.look_out(is_well)):
                yield
        finally:
            await lookout.close()

    async def _renew_connections(self) -> None:
        """Let go of every connection: what they are connected to may not be the primary any more."""
        await self._engine.dispose()

    async def _attempt(self, once: Callable[[], Awaitable[T]]) -> T:
        try:
            with span("transaction"):
                result = await once()
        except (DBAPIError, StatementFailed) as error:
            if sqlstate(error) in RETRIED:
                raise _LostRace from error
            problem = self._translate(error)
            if problem is None:
                raise
            raise problem from error
        except PoolTimeout as error:
            self._count("no_connection")
            raise Overloaded from error
        except (*DRIVER_ERRORS, self._engine.dialect.loaded_dbapi.Error) as error:
            # Raised bare while connecting; afterwards they are wrapped.
            raise self._unavailable(error) from error
        self.availability.answered()
        return result

    async def _once(self, run: Callable[[AsyncSession], Awaitable[T]], *, read_only: bool = False) -> T:
        session = Session(self._engine)
        # Closing it says nothing to the server, as the transaction has ended then: it cannot wait, nor be cancelled.
        with closing(session.sync_session):
            # Now, and not with the first statement, so that the wait for a connection can be told from the work.
            with self._gauges.waiting(), span("pool.wait"):
                pooled = await session.connection()
            lease = pooled.sync_connection.connection  # type: ignore[union-attr]  # None before it is connected
            session.info[DIRECT] = direct = self._direct(lease, read_only=read_only)

            async def flushed(direct: Direct) -> T:
                await direct.begin()
                result = await run(session)
                await session.flush()
                return result

            return await self._whole(lease, direct, flushed)

    async def _once_directly(self, run: Callable[[Direct], Awaitable[T]], *, read_only: bool = False) -> T:
        with self._gauges.waiting(), span("pool.wait"):
            lease = await self._engine.raw_connection()
        try:
            return await self._whole(lease, self._direct(lease, read_only=read_only), run)
        finally:
            lease.close()

    async def _whole(self, lease: PoolProxiedConnection, direct: Direct, run: Callable[[Direct], Awaitable[T]]) -> T:
        """Run it to its COMMIT, if it has begun a transaction; or undo it."""
        with self._gauges.working():
            try:
                try:
                    result = await run(direct)
                    await direct.write_ending()
                except BaseException:
                    self._count("rolled_back")
                    raise
                if direct.has_begun:
                    end = direct.whole or (lambda: direct.guarded(_end(direct.connection)))
                    await self._commit(direct.connection, end)
                else:
                    self._count("committed")
            except BaseException as error:
                await self._take_back(lease, direct, error)
                raise
            return result

    def _direct(self, lease: PoolProxiedConnection, *, read_only: bool) -> Direct:
        connection: RawConnection = lease.driver_connection  # type: ignore[assignment]  # typed as Any | None
        return Direct(
            connection,
            lease.info,
            begin=lambda: connection.execute("BEGIN READ ONLY" if read_only else "BEGIN"),
            lock_wait=self._metrics.booking_lock_wait.observe,
        )

    async def _take_back(self, lease: PoolProxiedConnection, direct: Direct, error: BaseException) -> None:
        """Let a connection on which something failed carry nothing into the pool: no transaction, no statement."""
        connection = direct.connection
        try:
            if (direct.has_begun or not isinstance(error, Problem)) and not connection.is_closed():
                # Shielded: cancelled, it would leave row locks behind with the connection. It also waits until a
                # statement that was given up has ended.
                await _finish(asyncio.ensure_future(connection.execute("ROLLBACK")))
        except DRIVER_ERRORS:
            connection.terminate()
        finally:
            if connection.is_closed() or (isinstance(error, StatementFailed) and error.is_disconnect):
                # All of its age go with it, as SQLAlchemy does it for its own: their server has gone, or was demoted.
                self._engine.sync_engine.pool._invalidate(lease, error)  # noqa: SLF001 - there is no other way to it

    async def _commit(self, connection: RawConnection, send: Callable[[], Awaitable[object]]) -> None:
        """Commit, come what may: a caller that goes away meanwhile must not decide what replicas have."""
        begin_commit()
        with span("COMMIT", Kind.CLIENT, DATABASE):
            commit = asyncio.ensure_future(send())
            # At the bound the socket is torn down, which ends the commit with an error. It is not cancelled: that would
            # ask the server to stop waiting for its replicas.
            bound = asyncio.get_running_loop().call_later(self._commit_within_seconds, connection.terminate)
            try:
                await _finish(commit)
            except asyncio.CancelledError:
                is_certain = commit.exception() is None and not self._was_local_only(connection)
                self._count("committed" if is_certain else "unknown")
                raise
            except StatementFailed as error:
                # A COMMIT is never refused for being on a standby; a statement that is all of a transaction is.
                if _is_lost(error) and sqlstate(error) != READ_ONLY:
                    raise self._unknown("connection") from error
                self._count("rolled_back")
                raise  # the server refused: a definite no
            finally:
                bound.cancel()
            if self._was_local_only(connection):
                raise self._unknown("replication")
        self._count("committed")

    def _was_local_only(self, connection: RawConnection) -> bool:
        """Tell whether no replica has confirmed the COMMIT that has just ended; asked again, it is the next one's."""
        is_marked = connection in self._local_only
        self._local_only.discard(connection)
        return is_marked

    def _unknown(self, cause: str) -> OutcomeUnknown:
        self._count("unknown")
        self.availability.failed()
        log.error("commit.lost", cause=cause)
        return OutcomeUnknown()

    def _unavailable(self, error: BaseException) -> Unavailable:
        self._count("read_only" if sqlstate(error) == READ_ONLY else "unavailable")
        self.availability.failed()
        cause = getattr(error, "orig", None) or error
        log.warning("database.lost", error=type(cause).__name__, sqlstate=sqlstate(error))
        return Unavailable()

    def _count(self, outcome: str) -> None:
        self._metrics.transactions.labels(outcome).inc()

    def _translate(self, error: DBAPIError | StatementFailed) -> Problem | None:
        """Turn what the server said into a problem, if somebody can act on it."""
        problem = self._constraint_problems.get(violated_constraint(error) or "")
        if problem is not None:
            return problem()
        if _is_lost(error):
            return self._unavailable(error)
        if sqlstate(error) in OVERLOADED:
            return Overloaded()
        if sqlstate(error) in REFUSED:
            return self._unavailable(error)
        return None

    def _keep_commits_to_ourselves(self) -> None:
        """Have SQLAlchemy end nothing, and notice commits that were acknowledged although no replica confirmed them.

        SQLAlchemy's adapter says BEGIN before its own first statement only, and takes a COMMIT that is answered with
        ROLLBACK for a success. Cancelling a backend's wait for synchronous replication makes COMMIT succeed with a mere
        warning.
        """

        def on_message(connection: RawConnection, message: asyncpg.PostgresLogMessage) -> None:
            if "synchronous replication" in (message.message or ""):
                self._local_only.add(connection)

        @event.listens_for(self._engine.sync_engine, "connect")
        def _on_connect(dbapi_connection: Any, _record: object) -> None:  # SQLAlchemy's adapter has no public type
            dbapi_connection.autocommit = True
            dbapi_connection.driver_connection.add_log_listener(on_message)


async def _end(connection: RawConnection) -> None:
    status = await connection.execute("COMMIT")
    if status != "COMMIT":
        # So PostgreSQL ends a transaction in which something failed. Nobody may take that for an acknowledgement.
        raise LookupError(f"COMMIT was answered with {status}")


def _is_lost(error: DBAPIError | StatementFailed) -> bool:
    """Tell whether it was the connection that failed, and not the statement."""
    if isinstance(error, StatementFailed):
        return error.is_disconnect or not isinstance(error.orig, asyncpg.PostgresError)
    return error.connection_invalidated or is_disconnect(sqlstate(error)) or isinstance(error, InterfaceError)


async def _finish(task: "asyncio.Future[T]") -> T:
    """Wait until the task has ended, even when this task is cancelled meanwhile; then be cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain; the caller is gone
        raise cancelled
    return task.result()
