"""What the developer's terminal shows and sends."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """The developer wants it to end."""


def say(text: str, *, end: str = "\n", or_stop: bool = True) -> None:
    """Print at once, terminal or not.

    Raises:
        Stopped: nobody reads any more (`make run | head`, a closed terminal); never with *or_stop* false, for
            what is said while stopping.
    """
    try:
        print(text, end=end, flush=True)
    except OSError:
        # Python would fail once more when it empties the buffer at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if or_stop:
            raise Stopped from None


@contextmanager
def step(number: int, steps: int, what: str) -> Iterator[Callable[[str], None]]:
    """Print the step before it begins and its time after it; what is noted goes between."""
    say(f"[{number}/{steps}] {what} …", end="")
    begun = time.monotonic()
    yield lambda text: say(f" {text}", end="")
    say(f" ({time.monotonic() - begun:.1f} s)")


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C and its kin instead of breaking off anywhere: what is being started can then be stopped."""
    received: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
