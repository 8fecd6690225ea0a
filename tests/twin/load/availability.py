"""What unavailability is, and how it is counted.

Each request counts once, by its *first* answer, at the instant at which it was due (which does not shift when the
generator or the service is slow). It was served if that answer came within SERVED_WITHIN_SECONDS and was one that the
request deserves: done, or refused for a reason of the domain (slot taken, not found). A 5xx of whoever, a reset, a
time-out is none.

Unavailable seconds of a class (writes, reads): the sum, over every run of requests one after the other none of which
was served, of the time from when the first of them was due until when the next one that was served was due. While one
of two processes is gone and every second request fails, every second interval counts; while nobody is served, all of it
counts; a single failure counts for the time until the next request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.twin.history.model import Kind

SERVED_WITHIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """How one request fared."""

    due: float
    took_seconds: float  # from when it was due
    is_right: bool
    is_write: bool
    kind: Kind
    said: str = ""  # of an answer that is not right: the problem's slug, or how it failed

    @property
    def is_served(self) -> bool:
        """Tell whether it counts as served."""
        return self.is_right and self.took_seconds <= SERVED_WITHIN_SECONDS


def unavailable_seconds(answers: Sequence[FirstAnswer], *, writes: bool) -> float:
    """Sum the time in which nobody of the class was served although somebody asked."""
    total, since = 0.0, None
    for one in sorted((one for one in answers if one.is_write is writes), key=lambda one: one.due):
        if not one.is_served:
            since = one.due if since is None else since
        elif since is not None:
            total, since = total + one.due - since, None
    if since is not None:  # nobody was served again: up to the last one who asked
        total += max(one.due for one in answers if one.is_write is writes) - since
    return total


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which this share lies; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
