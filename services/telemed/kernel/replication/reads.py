"""Where reads go, and what a write leaves behind so that its writer's reads see it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.clock import Clock
from telemed.kernel.database import Database
from telemed.kernel.direct import Direct
from telemed.kernel.keys import derived_key
from telemed.kernel.problems import Problem, Unavailable
from telemed.kernel.replication.exchange import current_consistency
from telemed.kernel.replication.positions import BEYOND_ALL, PrimaryTrack, Standing, WalPosition, furthest
from telemed.kernel.replication.replicas import NoReplica, Replicas, Served
from telemed.kernel.replication.tokens import TokenSigner
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("replication")
T = TypeVar("T")


class Reads:
    """One process' way to the primary and its replicas, for reads that bear a replica."""

    def __init__(self, primary: Database, *, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._primary = primary
        self._clock = clock
        self._track = PrimaryTrack()
        self._signer = TokenSigner(derived_key(settings.secret, "consistency-token"))
        self.max_lag = timedelta(seconds=settings.replica_max_lag_seconds)  # of a replica that is asked at all
        self.replicas = Replicas(settings.replica_databases, settings=settings, track=self._track, metrics=metrics)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look after primary and replicas for as long as the context lasts."""
        async with self.replicas.watched(), self._primary.watched(self._is_primary):
            yield

    @property
    def knows_primary(self) -> bool:
        """Tell whether the look-out has seen the primary yet; before that no replica's age is known."""
        return self._track.knows_something

    @property
    def is_primary_gone(self) -> bool:
        """Tell whether the primary is known not to answer: what is shown meanwhile is shown with its age."""
        return self._primary.availability.is_down

    def wanted(self) -> WalPosition | None:
        """Give what the client of this request has seen or written, and must see again."""
        consistency = current_consistency.get()
        if consistency is None or not self.replicas:
            return None
        now = self._clock.now()
        positions = (self._signer.read(token, now=now) for token in consistency.tokens)
        return furthest(position for position in positions if position is not None)

    async def note_write(self) -> None:
        """Let this request's reply carry the token of everything that is committed by now."""
        consistency = current_consistency.get()
        if consistency is not None and self.replicas:
            consistency.written = self._signer.sign(await self.position(), now=self._clock.now())

    async def position(self) -> WalPosition:
        """Give a position that covers everything committed before this call; `BEYOND_ALL` if the primary is gone."""
        try:
            found = await self._primary.standing()
        except Problem:
            # What was committed stays committed and is acknowledged: only its reads go to the primary for a while.
            log.warning("position.lost")
            return BEYOND_ALL
        return found.position

    async def read(self, operation: Callable[[AsyncSession], Awaitable[T]], at_least: WalPosition | None) -> Served[T]:
        """Run a read that shows nothing of a patient: on a replica, or the primary, or a replica however old.

        Raises:
            Overloaded: the primary has as many of the replicas' reads as it can bear.
            Unavailable: nobody answers.
            Problem: what the operation raised.
        """
        return await self._read(operation, at_least, lambda: self._primary.read(operation))

    async def read_directly(
        self, operation: Callable[[Direct], Awaitable[T]], at_least: WalPosition | None
    ) -> Served[T]:
        """Do as `read`, past SQLAlchemy; a replica's statements stay in the transaction that looks where it stands.

        Raises:
            As `read`.
        """

        async def inside(session: AsyncSession) -> T:
            return await operation(await Direct.inside(session))

        return await self._read(inside, at_least, lambda: self._primary.read_directly(operation))

    async def _read(
        self,
        of_replica: Callable[[AsyncSession], Awaitable[T]],
        at_least: WalPosition | None,
        of_primary: Callable[[], Awaitable[T]],
    ) -> Served[T]:
        if self.is_primary_gone:
            return await self.replicas.read_however_old(of_replica)
        try:
            return Served(await self.replicas.read(of_replica, at_least))
        except NoReplica as nobody:
            reason = nobody.reason
        try:
            async with self.replicas.primary_instead(reason):
                return Served(await of_primary())
        except Unavailable:
            return await self.replicas.read_however_old(of_replica)

    def _is_primary(self, found: Standing, asked_at: float) -> bool:
        if not found.takes_writes:
            return False
        # By the time of the question, so that ages come out a little too high, never too low.
        self._track.note(asked_at, found.position)
        return True
