"""A bound on how often something may happen, so that an outage of everything does not become one of telemetry, too."""

import time
from collections.abc import Callable


class Budget:
    """At most so many a second, on average; after a quiet time, a second's worth at once."""

    def __init__(self, per_second: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._monotonic = monotonic
        self._left = per_second
        self._at = monotonic()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
