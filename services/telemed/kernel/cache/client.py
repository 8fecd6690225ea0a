"""Redis behind a bound and a breaker. Holds nothing that cannot be lost; raises `CacheUnavailable` and nothing else."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from redis.exceptions import AskError, MovedError

from telemed.kernel.background import in_background
from telemed.kernel.cache.addresses import Endpoint, Mode, RedisAddress
from telemed.kernel.cache.breaker import OPENS_AFTER, Breaker
from telemed.kernel.cache.line import Command, Line
from telemed.kernel.cache.lookout import Lookout
from telemed.kernel.cache.nodes import Node, Nodes
from telemed.kernel.cache.topology import slot_of
from telemed.kernel.clock import Clock
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.spans import Attributes, Kind, span

T = TypeVar("T")
# Shorter than the time after which any cluster promotes a replica, so that a primary that hung is never believed again
# before this process has noticed.
_WATCH_SECONDS = 1.0
_PAUSE_SECONDS = 0.2  # between two looks, however much fails
_FOUND_WITHIN_SECONDS = 3.0  # of the start; a Redis that is not there keeps nobody from starting
# What others must hear of may take so many times as long as a question, and is said so often. A server that is merely
# busy, or a pause of this very process, would otherwise lose notes, and others would show what is gone until the
# worker repeats them. It has a breaker of its own, which only its own failures open: questions that a busy process
# lost to their short bound say nothing of the server. As many failures open it: few calls pay for an outage.
_PATIENCE = 5
_URGENT_TRIES = OPENS_AFTER
_REDIS: Attributes = {"db.system.name": "redis"}


class CacheUnavailable(Exception):
    """Redis did not answer in time, answered nonsense, or is being left alone for a moment."""


class Cache:
    """What one process keeps in Redis: one server, a primary that sentinels know, or a cluster.

    Every call names the key that decides which server is asked; all keys of a call share its slot (its braces).
    """

    def __init__(self, address: RedisAddress, *, timeout_seconds: float, clock: Clock, metrics: Metrics) -> None:
        self._timeout = timeout_seconds
        self._is_cluster = address.mode is Mode.CLUSTER
        self._nodes = Nodes(address, patience_seconds=_PATIENCE * timeout_seconds, clock=clock, metrics=metrics)
        self._lookout = Lookout(address, self._nodes, timeout_seconds=timeout_seconds)
        # Of the search for whoever serves a slot that nobody is known to serve.
        self._finding, self._insisting = Breaker(), Breaker()
        self._wake, self._found = asyncio.Event(), asyncio.Event()
        self._answered, self._failed = (metrics.cache_calls.labels(outcome) for outcome in ("answered", "failed"))

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Ask all of Redis for a sign of life, and for its topology, every second for as long as the context lasts.

        A process without traffic would otherwise not notice that a server was away, and would trust afterwards what
        others could not correct meanwhile. The context begins when somebody is known to serve, or after a moment: the
        first write of a new process could otherwise not tell the others.
        """
        async with in_background(self._watch()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FOUND_WITHIN_SECONDS):
                    await self._found.wait()
            yield

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            await self._lookout.look()
            if self._nodes.all:
                self._found.set()
            self._nodes.rebuild_stuck()
            await asyncio.sleep(min(_PAUSE_SECONDS, _WATCH_SECONDS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._wake.wait()

    async def run(self, key: str, question: Callable[[Line], Awaitable[T]], *, urgent: bool = False) -> T:
        """Ask something of the server that has *key*, bounded in time.

        Follows one redirection, so *question* may be asked twice. *urgent* asks although the breaker is open, and is
        patient and insists until that has failed as well: for what other processes must hear of if at all possible.

        Raises:
            CacheUnavailable: whatever went wrong; callers go on without the cache.
        """
        slot = slot_of(key)
        for _ in range(_URGENT_TRIES - 1 if urgent else 0):
            try:
                return await self._run_once(slot, question, urgent=urgent)
            except CacheUnavailable:
                if self._insistence(slot).is_open:
                    raise
        return await self._run_once(slot, question, urgent=urgent)

    async def _run_once(self, slot: int, question: Callable[[Line], Awaitable[T]], *, urgent: bool) -> T:
        node = await self._node(slot, urgent=urgent)
        try:
            return await self._ask(node, slot, question, urgent=urgent)
        except MovedError as moved:
            node = self._nodes.learn(slot, Endpoint(moved.host or node.endpoint.host, moved.port))
            self._wake.set()
        try:
            return await self._ask(node, slot, question, urgent=urgent)
        except MovedError as error:
            raise CacheUnavailable("sent around in circles") from error

    async def run_all(self, parts: Mapping[str, Sequence[Command]], *, urgent: bool = False) -> None:
        """Have done what *parts* says for each key, in one question for every server concerned.

        A server that fails does not keep the others from doing their part.

        Raises:
            CacheUnavailable: at least one part may not have been done.
        """
        shares: dict[object, list[str]] = {}
        for key in parts:
            shares.setdefault(self.share(key), []).append(key)

        async def write(keys: list[str]) -> None:
            commands = [command for key in keys for command in parts[key]]
            await self.run(keys[0], lambda line: line.ask(*commands), urgent=urgent)

        results = await asyncio.gather(*map(write, shares.values()), return_exceptions=True)
        for failure in filter(None, results):
            raise failure

    def share(self, key: str) -> object:
        """Give a word that keys have in common if one question may be about all of them."""
        # In a cluster slots move one by one, so only keys of the same slot are certain to stay together.
        return slot_of(key) if self._is_cluster else None

    def doubted_at(self, key: str) -> datetime:
        """Say when something may last have been lost where the key lies: distrust what was stored before."""
        return self._nodes.doubted_at(slot_of(key))

    def failed_at(self, key: str) -> datetime | None:
        """Say when this process last saw something go wrong where the key lies; None when it never did."""
        doubted_at = self.doubted_at(key)
        return doubted_at if doubted_at > self._nodes.born_at else None

    def distrust(self, key: str, reason: str) -> None:
        """Treat an answer as garbage: what it came from must prove itself again."""
        node = self._nodes.serving(slot_of(key))
        if node is not None:
            self._nodes.note_failure(node, CacheUnavailable(reason))

    async def close(self) -> None:
        """Close every connection."""
        await self._lookout.close()
        await self._nodes.close()

    def _insistence(self, slot: int) -> Breaker:
        """Give the breaker of what is urgent: while it is closed, such calls are patient and insist."""
        node = self._nodes.serving(slot)
        return node.insistence if node is not None else self._insisting

    def _bound(self, insistence: Breaker, *, urgent: bool) -> float:
        return self._timeout * (_PATIENCE if urgent and not insistence.is_open else 1)

    async def _node(self, slot: int, *, urgent: bool) -> Node:
        node = self._nodes.serving(slot)
        if node is None and (urgent or self._finding.may_try()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bound(self._insisting, urgent=urgent)):
                    await self._lookout.look()
            node = self._nodes.serving(slot)
            if node is None:
                (self._insisting if urgent else self._finding).failed()
        if node is None:
            raise CacheUnavailable("nobody is known to serve this")
        self._finding.succeeded()
        self._insisting.succeeded()
        return node

    async def _ask(self, node: Node, slot: int, question: Callable[[Line], Awaitable[T]], *, urgent: bool) -> T:
        if not (urgent or node.breaker.may_try()):
            raise CacheUnavailable("breaker open")
        line = node.line
        try:
            with self._timed(node.endpoint):
                async with asyncio.timeout(self._bound(node.insistence, urgent=urgent)):
                    answer = await question(line)
        except AskError as error:
            # Also MOVED. The server is well, but the slot is on its way to another: only a look knows when it is there.
            self._nodes.doubt(slot)
            self._wake.set()
            if isinstance(error, MovedError) and self._is_cluster:
                raise
            raise CacheUnavailable(type(error).__name__) from error
        except Exception as error:
            if node.line is line:  # not of one that has been thrown away meanwhile
                self._nodes.note_failure(node, error)
                if urgent:
                    node.insistence.failed()
            self._wake.set()
            raise CacheUnavailable(type(error).__name__) from error
        self._nodes.note_success(node)
        return answer

    @contextlib.contextmanager
    def _timed(self, endpoint: Endpoint) -> Iterator[None]:
        begun = time.perf_counter()
        duration = self._failed
        try:
            with span("redis", Kind.CLIENT, {**_REDIS, "server.address": endpoint.host, "server.port": endpoint.port}):
                yield
            duration = self._answered
        finally:
            duration.observe(time.perf_counter() - begun)
