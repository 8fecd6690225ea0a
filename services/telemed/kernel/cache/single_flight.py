"""Single flight: however many ask for the same thing at once, it is fetched once per process."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from telemed.kernel.deadline import current_deadline

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one load per key at a time and gives its result, or its failure, to everybody who asked meanwhile."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Task[T]] = {}
        self._next: dict[Hashable, asyncio.Task[T]] = {}
        self._boarding: set[Hashable] = set()  # flights that are made but have not begun: everybody may still join

    async def run(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Join the flight for *key*, or begin it.

        The flight is a task of its own: a caller that is cancelled leaves it flying for the others.
        """
        return await asyncio.shield(self.begin(key, load))

    async def run_next(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        """Begin a flight, or join one that has not begun yet.

        For loads that must see everything written before the call: a flight that is already under way may have read
        its source before that. Those who arrive meanwhile share the flight after it.
        """
        following = self._next.get(key)
        if following is None:
            if key in self._boarding or key not in self._flights:
                return await self.run(key, load)
            following = asyncio.ensure_future(self._after(self._flights[key], key, load))
            self._next[key] = following
        return await asyncio.shield(following)

    async def _after(self, current: "asyncio.Task[T]", key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait({current})
        # From here on nobody is promised this flight any more; until it begins they may still join.
        del self._next[key]
        return await self.begin(key, load)

    def begin(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> "asyncio.Task[T]":
        """Start the flight for *key* unless there is one, and do not wait."""
        # The flight that is announced goes first: between the landing of one and the start of the next nobody else
        # may begin, or those who were promised the next would be given a load that began before they asked.
        flight = self._flights.get(key) or self._next.get(key)
        if flight is None:
            flight = asyncio.ensure_future(self._fly(key, load))
            self._flights[key] = flight
            self._boarding.add(key)
            flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    async def _fly(self, key: Hashable, load: Callable[[], Awaitable[T]]) -> T:
        self._boarding.discard(key)
        current_deadline.set(None)  # it flies for everybody: the deadline of who happened to begin it is not theirs
        return await load()

    def _land(self, key: Hashable, flight: "asyncio.Task[T]") -> None:
        del self._flights[key]
        self._boarding.discard(key)  # a flight that was cancelled before it began
        if not flight.cancelled():
            flight.exception()  # looked at: a background refresh may have nobody waiting for it
