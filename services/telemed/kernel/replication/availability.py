"""Whether a server is worth asking: so that a request hears "not now" at once instead of after every time-out."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from telemed.kernel.problems import Problem
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("database")

OPENS_AFTER = 3  # failures in a row: one is a connection that a pooler closed, three are an outage
_LOOK_EVERY_SECONDS = 1.0
_LOOK_WHILE_DOWN_SECONDS = 0.25
# A healthy server answers in a millisecond; a frozen one never. With three looks an outage is known after about 3 s.
LOOK_WITHIN_SECONDS = 0.8


class Availability:
    """Down after OPENS_AFTER failures in a row, of requests or of looks; up again when a look finds the server well.

    Only looks end an outage, so requests never pay for trials, and a thousand of them do not fall on a server that
    is just coming up. Without a look-out running it never goes down.
    """

    def __init__(self, name: str, *, metrics: Metrics, recovered: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._gauge = metrics.database_breaker_open.labels(name)
        self._recovered = recovered
        self._failures = 0
        self._is_watched = False
        self._went_down = asyncio.Event()
        self.is_down = False

    def failed(self) -> None:
        """Note that the server did not answer, or not as it should."""
        self._failures += 1
        if self._is_watched and not self.is_down and self._failures >= OPENS_AFTER:
            self.is_down = True
            self._gauge.set(1)
            self._went_down.set()
            log.warning("server.lost", server=self._name)

    def answered(self) -> None:
        """Note an answer to a request."""
        self._failures = 0

    async def look_out(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Ask for a sign of life again and again; *look* tells whether the server is what it should be."""
        self._is_watched = True
        try:
            while True:
                try:
                    is_well = await self._is_well(look)
                except Exception:
                    log.exception("look.failed", server=self._name)
                else:
                    await self._note(is_well=is_well)
                await self._pause()
        finally:
            self._is_watched = self.is_down = False

    async def _note(self, *, is_well: bool) -> None:
        if not is_well:
            self.failed()
            return
        self._failures = 0
        if self.is_down:
            await self._recovered()
            self.is_down = False
            self._gauge.set(0)
            log.info("server.recovered", server=self._name)

    async def _pause(self) -> None:
        if self.is_down:
            await asyncio.sleep(_LOOK_WHILE_DOWN_SECONDS)
            return
        # An outage that requests found is looked into at once: it may be over already (a pooler that was restarted).
        self._went_down.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_EVERY_SECONDS):
                await self._went_down.wait()

    async def _is_well(self, look: Callable[[], Awaitable[bool]]) -> bool:
        with contextlib.suppress(Problem, TimeoutError):
            async with asyncio.timeout(LOOK_WITHIN_SECONDS):
                return await look()
        return False
