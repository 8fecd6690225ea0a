"""One run: what it says, how long it may take, how its requests are labelled, and what it has to take back."""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from telemed.kernel.clock import Clock
from telemed.smoke.failure import Failure, Stopped

# How synthetic requests are told from those of people, everywhere outside the code (a gateway's log, a metric's label):
# the product of User-Agent. It grants nothing. It is also the beginning of every request's id, which is in the logs and
# in each audit record that the run causes.
SMOKE = "telemed-smoke"
PROBE = "telemed-probe"

# Of one answer. A login that hashes behind others takes seconds, the server's own deadline is 15.
_PATIENCE_SECONDS = 15.0
# For taking back what was made, counted on top: less than the 30 s that a pod is given when it is told to stop.
_UNDOING_SECONDS = 12.0
_TRIES = 3  # of taking one thing back


def _not_measured(_step: str, _seconds: float) -> None:
    """Measure nothing: whoever runs it once reads the lines."""


class Run:
    """One run of the journey, by a client that names itself *product*.

    Each step's name and seconds are told to *measured* when it has ended, well or not.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        timeout_seconds: float,
        clock: Clock,
        *,
        product: str = SMOKE,
        measured: Callable[[str, float], None] = _not_measured,
    ) -> None:
        self.clock = clock
        self._say = say
        self._product = product
        self._measured = measured
        self._began = time.monotonic()
        self._ends = self._began + timeout_seconds
        self._id = secrets.token_hex(6)
        self._count = itertools.count(1)
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self.steps = 0
        self.is_arriving = True  # nothing of it was answered by every service yet

    def headers(self) -> dict[str, str]:
        """Give the next request's label and id."""
        return {
            "User-Agent": f"{self._product}/1 (synthetic; test)",
            "X-Request-ID": f"{self._product}-{self._id}-{next(self._count)}",
        }

    def patience(self) -> float:
        """Give the seconds for which the next answer is waited for.

        Raises:
            Stopped: there is no time left.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise Stopped("the time that --timeout-seconds gives it is up")
        return min(_PATIENCE_SECONDS, max(left, 0.1))

    def elapsed(self) -> float:
        """Give the seconds since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step and print how long it took; its name becomes part of a failure's sentence."""
        began = time.monotonic()
        try:
            yield
        except (Failure, Stopped) as failure:
            self._say(f"{time.monotonic() - began:8.3f} s  FAILED  {name}")
            raise type(failure)(f"{name}: {failure}") from failure
        except LookupError as missing:
            self._say(f"{time.monotonic() - began:8.3f} s  FAILED  {name}")
            raise Failure(f"{name}: an answer lacks {missing}; is it another version of telemed?") from missing
        finally:
            self._measured(name, time.monotonic() - began)
        self.steps += 1
        self._say(f"{time.monotonic() - began:8.3f} s  {name}")

    def to_undo(self, what: str, undo: Callable[[], None]) -> None:
        """Remember how to take back what is about to be made; say it before making it, as an answer may be lost."""
        self._undo.append((what, undo))

    def undone(self, what: str) -> None:
        """Forget it: a step of the journey has taken it back."""
        self._undo = [entry for entry in self._undo if entry[0] != what]

    def clean_up(self) -> list[str]:
        """Take back what is left, the newest first; gives what could not be."""
        self._ends = time.monotonic() + _UNDOING_SECONDS
        return [what for what, undo in reversed(self._undo.copy()) if not self._taken_back(what, undo)]

    def _taken_back(self, what: str, undo: Callable[[], None]) -> bool:
        for _ in range(_TRIES):
            try:
                undo()
            except (Failure, Stopped, LookupError):
                continue
            self._say(f"            taken back: {what}")
            return True
        self._say(f"            NOT taken back: {what}")
        return False
