"""What a service asks the worker to do again and again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemed.kernel.resources import Resources

# Rows that a job deletes in one transaction: an old snapshot slows every queue down. Fewer are not followed by another
# run: under load there is always something that has just grown old enough.
FORGOTTEN_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that the worker runs every *every*, one run at a time in each process.

    *run* returns how much it did; while that is *batch* or more, there may be more, and it is run again at once.
    Several workers may run the same job at the same time, so *run* claims what it works on (SKIP LOCKED or a lock of
    its own).
    """

    name: str
    every: timedelta
    run: Callable[["Resources"], Awaitable[int]]
    batch: int = 1
