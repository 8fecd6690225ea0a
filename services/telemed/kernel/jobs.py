"""What a service asks the worker to do again and again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemed.kernel.resources import Resources


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that the worker runs every *every*, one run at a time in each process.

    *run* returns how much it did; while that is more than zero it is run again at once. Several workers may run
    the same job at the same time, so *run* claims what it works on (SKIP LOCKED or a lock of its own).
    """

    name: str
    every: timedelta
    run: Callable[["Resources"], Awaitable[int]]
