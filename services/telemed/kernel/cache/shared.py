"""Commands of many askers in one question: whoever asks while one is under way shares the next (`kernel/gathering.py`).

A question costs its asker a time-out, a span and a wake-up, more than the commands in it cost. Nobody gets a reply to a
question that was sent before they asked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from telemed.kernel.cache.client import Cache
from telemed.kernel.cache.line import Command, Line
from telemed.kernel.gathering import Gathering

T = TypeVar("T")
Read = Callable[[list[Any]], T]  # what a reply holds depends on the command


class _Asked(NamedTuple):
    commands: Sequence[Command]
    read: Read[Any]


class SharedQuestions:
    """Asks Redis for one process."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        # One for all where there is one server; in a cluster one for each slot that was asked about, as slots move.
        self._together: dict[object, Gathering[_Asked, Any]] = {}

    async def ask(self, key: str, commands: Sequence[Command], read: Read[T]) -> T:
        """Send the commands, all about keys that share *key*'s slot (their braces), and give what is *read* in replies.

        Raises:
            CacheUnavailable: as `Cache.run`; also when *read* raises, and because of what others asked with it.
        """
        share = self._cache.share(key)
        gathering = self._together.get(share)
        if gathering is None:
            gathering = self._together[share] = Gathering(partial(self._ask, key))
        answer: T = await gathering.ask(_Asked(commands, read))
        return answer

    async def _ask(self, key: str, asked: Sequence[_Asked]) -> list[Any]:
        async def question(line: Line) -> list[Any]:
            replies = iter(await line.ask(*(command for one in asked for command in one.commands)))
            # In here, so that a server that answers nonsense is doubted, and nobody is given more of it.
            return [one.read([next(replies) for _ in one.commands]) for one in asked]

        return await self._cache.run(key, question)
