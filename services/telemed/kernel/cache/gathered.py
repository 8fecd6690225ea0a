"""Small values read together: whoever asks while a question is under way shares the next one.

A question to Redis costs its asker far more than its server, so a process under load asks once for all who wait: the
more there are, the less it costs each. Nobody gets an answer to a question that was sent before they asked.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence

from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Line

Keys = tuple[str, ...]
Values = tuple[bytes | None, ...]
# Called once, soon, with the values; with None when nobody could tell. Must not raise.
Then = Callable[[Values | None], None]


class Gathered:
    """Reads values of keys; the keys of one question share a slot (their braces)."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._waiting: dict[Keys, list[Then]] = {}
        self._sending: asyncio.Task[None] | None = None

    def ask(self, keys: Keys, then: Then) -> None:
        """Read the values and give them to *then*."""
        if not self._waiting and self._sending is None:
            # At the end of this turn of the loop: others may come in it.
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.setdefault(keys, []).append(then)

    def _send(self) -> None:
        if self._sending is None and self._waiting:
            asked, self._waiting = self._waiting, {}
            # In a context of its own: it reads for many, and is part of nobody's trace.
            self._sending = asyncio.get_running_loop().create_task(
                self._answer_all(asked), context=contextvars.Context()
            )
            self._sending.add_done_callback(self._landed)

    def _landed(self, _sent: "asyncio.Task[None]") -> None:
        self._sending = None
        self._send()

    async def _answer_all(self, asked: dict[Keys, list[Then]]) -> None:
        shares: dict[object, list[Keys]] = {}
        for keys in asked:
            shares.setdefault(self._cache.share(keys[0]), []).append(keys)
        if len(shares) == 1:  # no tasks for one server's sake
            await self._answer(list(asked), asked)
        else:
            await asyncio.gather(*(self._answer(questions, asked) for questions in shares.values()))

    async def _answer(self, questions: Sequence[Keys], asked: dict[Keys, list[Then]]) -> None:
        names = [key for keys in questions for key in keys]
        values: list[bytes | None] | None
        try:
            values = await self._cache.run(names[0], lambda line: _read(line, names))
        except CacheUnavailable:
            values = None
        at = 0
        for keys in questions:
            answer = tuple(values[at : at + len(keys)]) if values is not None else None
            at += len(keys)
            for then in asked[keys]:
                then(answer)


async def _read(line: Line, names: list[str]) -> list[bytes | None]:
    (values,) = await line.ask(("MGET", *names))
    is_answer = isinstance(values, list) and len(values) == len(names)
    if not is_answer or not all(value is None or isinstance(value, bytes) for value in values):
        raise TypeError("not an answer to MGET")
    return list(values)
