"""Hears SIGTERM and SIGINT, and lets them break off only what may be broken off."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from telemed.smoke.failure import Stopped


class Ears:
    """What was heard. Told twice, it stays with the first."""

    def __init__(self) -> None:
        self.told: str | None = None  # the signal's name
        self._are_open = False

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Let a signal end what is done in the context where it stands; before and after, it is only noted.

        Raises:
            Stopped: one came, now or before.
        """
        self._are_open = True  # before looking, so that none is missed in between
        try:
            if self.told is not None:
                raise Stopped(f"stopped by {self.told}")
            yield
        finally:
            self._are_open = False

    def hear(self, number: int, _: FrameType | None) -> None:
        """Note a signal."""
        if self.told is not None:
            return
        self.told = signal.Signals(number).name
        if self._are_open:
            self._are_open = False
            raise Stopped(f"stopped by {self.told}")


@contextlib.contextmanager
def listening() -> Iterator[Ears]:
    """Hear for as long as the context lasts."""
    ears = Ears()
    before = {number: signal.signal(number, ears.hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ears
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
