"""Time as something that is handed in, so that tests move it instead of sleeping."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """Give the current instant, aware and in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Give the current instant, aware and in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until somebody moves it; the twin of `SystemClock` in tests and seeding."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Give the instant to which the clock was last set."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward."""
        self._now += by
