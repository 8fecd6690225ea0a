"""A circuit breaker: stop asking what does not answer, and try again now and then."""

import random
import time
from collections.abc import Callable
from datetime import timedelta

OPENS_AFTER = 3  # failures in a row
TRIES_EVERY = timedelta(seconds=1)


class Breaker:
    """Counts failures in a row; while open, lets one trial through per *tries_every* (with jitter)."""

    def __init__(
        self,
        *,
        opens_after: int = OPENS_AFTER,
        tries_every: timedelta = TRIES_EVERY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opens_after = opens_after
        self._tries_every = tries_every.total_seconds()
        self._monotonic = monotonic
        self._failures = 0
        self._next_trial = 0.0

    @property
    def is_open(self) -> bool:
        """Tell whether the other side is being left alone."""
        return self._failures >= self._opens_after

    def may_try(self) -> bool:
        """Tell whether to ask now; while open, the asker becomes the one trial of this period."""
        if not self.is_open:
            return True
        now = self._monotonic()
        if now < self._next_trial:
            return False
        self._schedule_trial(now)
        return True

    def succeeded(self) -> None:
        """Note an answer: closes the breaker."""
        self._failures = 0

    def failed(self) -> None:
        """Note a failure: opens the breaker when it was the last that we bear."""
        self._failures += 1
        if self._failures == self._opens_after:
            self._schedule_trial(self._monotonic())

    def _schedule_trial(self, now: float) -> None:
        # Jitter, so that the processes do not all come back in the same instant.
        self._next_trial = now + self._tries_every * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
