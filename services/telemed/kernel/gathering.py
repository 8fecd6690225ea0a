"""What many ask for at the same time, done for all of them at once.

A round trip costs its asker more than its server, and a transaction more than what is done in it. Under load, those who
come while something is being done share the next time; when there is nobody else, nobody waits.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from telemed.kernel.cache.single_flight import SingleFlight

A = TypeVar("A")
R = TypeVar("R")
_AT_ONCE = 256  # of one call; more go in several, one after the other


class Gathering(Generic[A, R]):
    """Gathers the askers of one process."""

    def __init__(self, do: Callable[[Sequence[A]], Awaitable[Sequence[R]]]) -> None:
        """Take the call that does it; it gives a result for each, in their order. If it fails, it fails for each."""
        self._do = do
        self._waiting: list[_Asker[A, R]] = []
        self._flights = SingleFlight[None]()

    async def ask(self, asked: A) -> R:
        """Have it done, in a call that begins after this one; an asker that is cancelled leaves it to the others."""
        asker = _Asker[A, R](asked)
        self._waiting.append(asker)
        await self._flights.run_next("all", self._fly)
        return asker.results[0]

    async def _fly(self) -> None:
        waiting, self._waiting = self._waiting, []
        for begin in range(0, len(waiting), _AT_ONCE):
            some = waiting[begin : begin + _AT_ONCE]
            for asker, result in zip(some, await self._do([asker.asked for asker in some]), strict=True):
                asker.results.append(result)


class _Asker(Generic[A, R]):
    __slots__ = ("asked", "results")

    def __init__(self, asked: A) -> None:
        self.asked = asked
        self.results: list[R] = []  # one, when it is done
