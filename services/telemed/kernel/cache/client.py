"""Redis behind a bound and a breaker. Holds nothing that cannot be lost; raises `CacheUnavailable` and nothing else."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TypeVar

import redis.asyncio

from telemed.kernel.background import in_background
from telemed.kernel.cache.breaker import Breaker
from telemed.kernel.clock import Clock
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("cache")
T = TypeVar("T")
_WATCH_SECONDS = 1.0


class CacheUnavailable(Exception):
    """Redis did not answer in time, answered nonsense, or is being left alone for a moment."""


class Cache:
    """One process' connection to Redis."""

    def __init__(self, url: str, *, timeout_seconds: float, clock: Clock, metrics: Metrics) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._breaker = Breaker()
        self.last_failure_at: datetime | None = None
        # Blocking: when all connections are busy callers wait for one, within the bound. The other kind of pool
        # raises at once, and a burst of readers would look like an outage.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=32,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=None,  # a retry would double the bound; the breaker decides when to ask again
            health_check_interval=0,
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Ask Redis for a sign of life every second, for as long as the context lasts.

        A process without traffic would otherwise not notice that Redis was away, and would trust afterwards what
        others could not correct meanwhile.
        """
        return in_background(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with contextlib.suppress(CacheUnavailable):
                await self.run(_ping)

    async def run(self, command: Callable[["redis.asyncio.Redis"], Awaitable[T]], *, urgent: bool = False) -> T:
        """Run one command, pipeline or script, bounded in time.

        *urgent* asks although the breaker is open: for what other processes must hear of if at all possible.

        Raises:
            CacheUnavailable: whatever went wrong; callers go on without the cache.
        """
        if not (urgent or self._breaker.may_try()):
            raise CacheUnavailable("breaker open")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await command(self._redis)
        except Exception as error:
            self._note_failure(error)
            raise CacheUnavailable(type(error).__name__) from error
        if self._breaker.is_open:
            log.info("cache.recovered")
        self._breaker.succeeded()
        self._metrics.breaker_open.set(0)
        return answer

    def distrust(self, reason: str) -> None:
        """Treat an answer as garbage: what it came from must prove itself again."""
        self._note_failure(CacheUnavailable(reason))

    def _note_failure(self, error: BaseException) -> None:
        self.last_failure_at = self._clock.now()
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            log.warning("cache.lost", error=type(error).__name__)
        self._metrics.breaker_open.set(int(self._breaker.is_open))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()


async def _ping(client: "redis.asyncio.Redis") -> None:
    if await client.ping() is not True:
        raise ValueError("not an answer to PING")
