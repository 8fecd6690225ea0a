"""Until when the request that is being served has to be answered, for everything that would start or wait inside of it.

The edge cancels what runs at the deadline, so a wait needs no bound of its own here. What this module adds: nothing
starts after it, nothing begins that could not end before it, and whether a COMMIT may have taken effect is known.
"""

import math
import time
from contextvars import ContextVar

from telemed.kernel.problems import DeadlineExceeded, OutcomeUnknown, Problem


class Deadline:
    """One request's deadline. *at* is of `time.monotonic`; *writes* is False for methods that change nothing."""

    __slots__ = ("_writes", "at", "has_passed", "may_have_acted")

    def __init__(self, at: float, *, writes: bool) -> None:
        self.at = at
        self.has_passed = False  # set by whoever cancels the request, so that both always agree
        self.may_have_acted = False
        self._writes = writes

    def remaining(self) -> float:
        """Give the seconds that are left; none once it has passed."""
        return 0.0 if self.has_passed else max(0.0, self.at - time.monotonic())

    def begin_commit(self) -> None:
        """Note that from now on nobody may say that nothing was done."""
        self.may_have_acted = self._writes

    def problem(self) -> Problem:
        """Say what there is to say once it has passed."""
        if self.may_have_acted:
            return OutcomeUnknown("The deadline passed while committing; repeat the request under its key to find out.")
        return DeadlineExceeded()


# Work that is not a request's (a job's, a flight that several callers share) has none.
current_deadline: ContextVar[Deadline | None] = ContextVar("telemed_deadline", default=None)


def time_left() -> float:
    """Give the seconds that are left; without end if there is no deadline."""
    deadline = current_deadline.get()
    return math.inf if deadline is None else deadline.remaining()


def require_time(seconds: float = 0.0) -> None:
    """Go on only if something that takes so long can still end in time.

    Raises:
        DeadlineExceeded, OutcomeUnknown: it cannot.
    """
    deadline = current_deadline.get()
    if deadline is not None and deadline.remaining() <= seconds:
        raise deadline.problem()


def begin_commit() -> None:
    """Call right before each COMMIT; refuses to begin one for a request that was told that nothing was done.

    Raises:
        DeadlineExceeded, OutcomeUnknown: the deadline has passed.
    """
    require_time()
    deadline = current_deadline.get()
    if deadline is not None:
        deadline.begin_commit()
