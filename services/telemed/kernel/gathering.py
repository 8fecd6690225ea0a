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
_AT_ONCE = 256
# A call that takes longer may never end (a connection into nowhere), and holds up nobody else any longer.
_PATIENCE_SECONDS = 0.05
# A call lets so many turns of the event loop go by before it begins, which cost it some microseconds. Those whom the
# same turn has woken (by the answers of another call, by their packets) are with it by then, instead of one call later.
_TURNS = 3


class Gathering(Generic[A, R]):
    """Gathers the askers of one process."""

    def __init__(self, do: Callable[[Sequence[A]], Awaitable[Sequence[R]]], *, at_once: int = _AT_ONCE) -> None:
        """Take the call that does it for *at_once* at most; more go in several, one after the other.

        It gives a result for each, in their order. If it fails, it fails for each.
        """
        self._do = do
        self._at_once = at_once
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._next: asyncio.Task[None] | None = None  # everybody may still join
        self._last: asyncio.Task[None] | None = None  # the one that began last

    async def ask(self, asked: A) -> R:
        """Have it done, in a call that begins after this one; an asker that is cancelled leaves it to the others."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._next is None or self._next.done():  # done before it began: cancelled, with all else
            self._next = asyncio.ensure_future(self._fly(self._last))
        return await answer

    async def _fly(self, last: "asyncio.Task[None] | None") -> None:
        if last is not None and not last.done():
            await asyncio.wait({last}, timeout=_PATIENCE_SECONDS)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._last, self._next = self._next, None
        waiting, self._waiting = self._waiting, []
        current_deadline.set(None)  # of who happened to be the first; it is done for all
        try:
            for begin in range(0, len(waiting), self._at_once):
                await self._serve(waiting[begin : begin + self._at_once])
        finally:
            for _, answer in waiting:
                answer.cancel()  # this was cancelled, with all else; who has an answer keeps it

    async def _serve(self, waiting: "Sequence[tuple[A, asyncio.Future[R]]]") -> None:
        try:
            results = await self._do([asked for asked, _ in waiting])
            for (_, answer), result in zip(waiting, results, strict=True):
                if not answer.done():  # who asked has not left
                    answer.set_result(result)
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
