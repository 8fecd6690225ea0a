"""Whether this process should get traffic: not while it drains, not while its event loop is stuck."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager

from telemed.kernel.background import in_background
from telemed.kernel.telemetry.metrics import Metrics

_BEAT_SECONDS = 0.25
# A loop that is this late answers nobody in time; ordinary garbage collection and JSON stay far below.
STUCK_AFTER_SECONDS = 2.0


class Health:
    """Draining and event-loop lag. Shared dependencies are left out: a dead database must not restart every pod."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last_beat = time.monotonic()
        self._lags = (0.0, 0.0)
        self.is_draining = False

    def reasons_not_ready(self) -> list[str]:
        """Say why no traffic should come here; empty when it should."""
        reasons = []
        if self.is_draining:
            reasons.append("draining")
        if time.monotonic() - self._last_beat > STUCK_AFTER_SECONDS:
            reasons.append("event loop stuck")
        return reasons

    @property
    def lateness_seconds(self) -> float:
        """Say how late the event loop was at both of its last two beats; one long pause alone is no overload."""
        return min(self._lags)

    def watch_loop(self) -> AbstractAsyncContextManager[None]:
        """Measure how late the event loop is, for as long as the context lasts."""
        return in_background(self._beat())

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            self._last_beat = time.monotonic()
            lag = max(0.0, self._last_beat - due)
            self._lags = (self._lags[1], lag)
            self._metrics.loop_lag.set(lag)
            self._metrics.loop_late.inc(lag)
