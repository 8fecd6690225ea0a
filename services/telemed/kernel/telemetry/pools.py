"""What a pool of connections is doing, for the metrics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from telemed.kernel.telemetry.metrics import Metrics


class PoolGauges:
    """Counts those who wait for a connection of one pool, and times how long, and how long they then work."""

    def __init__(self, pool: str, engine: AsyncEngine, size: int, metrics: Metrics) -> None:
        self._engine = engine
        self._waiting = 0
        self._wait = metrics.pool_wait.labels(pool)
        self._duration = metrics.transaction_duration.labels(pool)
        metrics.pool_size.labels(pool).set(size)
        # Read when somebody asks for the metrics, and not written at every transaction.
        metrics.pool_in_use.labels(pool).set_function(self._checked_out)
        metrics.pool_waiting.labels(pool).set_function(lambda: self._waiting)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count one who waits, and how long it took, also when it was in vain."""
        begun = time.perf_counter()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._wait.observe(time.perf_counter() - begun)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Time a transaction, however it ends."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._duration.observe(time.perf_counter() - begun)

    def _checked_out(self) -> int:
        # Asked each time: an engine that renews its connections has another pool afterwards.
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0
