"""What many ask for at the same time, done for all of them at once.

A round trip costs its asker more than its server, and a transaction more than what is done in it. Under load, those who
come while something is being done share the next time; when there is nobody else, nobody waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from telemed.kernel.deadline import current_deadline

A = TypeVar("A")
R = TypeVar("R")
_AT_ONCE = 256  # of one call; more go in several, one after the other
# A call that takes longer may never end (a connection into nowhere), and holds up nobody else any longer.
_PATIENCE_SECONDS = 0.05


class Gathering(Generic[A, R]):
    """Gathers the askers of one process."""

    def __init__(self, do: Callable[[Sequence[A]], Awaitable[Sequence[R]]]) -> None:
        """Take the call that does it; it gives a result for each, in their order. If it fails, it fails for each."""
        self._do = do
        self._waiting: list[_Asker[A, R]] = []
        self._next: asyncio.Task[None] | None = None  # everybody may still join
        self._last: asyncio.Task[None] | None = None  # the one that began last

    async def ask(self, asked: A) -> R:
        """Have it done, in a call that begins after this one; an asker that is cancelled leaves it to the others."""
        asker = _Asker[A, R](asked)
        self._waiting.append(asker)
        if self._next is None or self._next.done():  # done before it began: cancelled, with all else
            self._next = asyncio.ensure_future(self._fly(self._last))
            self._next.add_done_callback(_look_at)
        await asyncio.shield(self._next)
        return asker.results[0]

    async def _fly(self, last: "asyncio.Task[None] | None") -> None:
        if last is not None and not last.done():
            await asyncio.wait({last}, timeout=_PATIENCE_SECONDS)
        self._last, self._next = self._next, None
        waiting, self._waiting = self._waiting, []
        current_deadline.set(None)  # of who happened to be the first; it is done for all
        for begin in range(0, len(waiting), _AT_ONCE):
            some = waiting[begin : begin + _AT_ONCE]
            for asker, result in zip(some, await self._do([asker.asked for asker in some]), strict=True):
                asker.results.append(result)


class _Asker(Generic[A, R]):
    __slots__ = ("asked", "results")

    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.results: list[R] = []  # one, when it is done


def _look_at(flight: "asyncio.Task[None]") -> None:
    """See a failure that nobody may be waiting for any more."""
    if not flight.cancelled():
        flight.exception()
