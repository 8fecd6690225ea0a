"""Asks every server for a sign of life, and who serves what: in the background, never in a caller's time."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from telemed.kernel.cache.addresses import Endpoint, Mode, RedisAddress
from telemed.kernel.cache.connections import identity_in, line_to_node, line_to_sentinel
from telemed.kernel.cache.line import Line
from telemed.kernel.cache.nodes import Node, Nodes
from telemed.kernel.cache.topology import Span, everything_at, merged, spans_in
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("cache")

# A look may take longer than a caller would wait: a false alarm costs every process its pages.
_LOOK_WITHIN_SECONDS = 0.25
# While nobody is known there are no pages to lose, and a process that is busy with its own start takes long to read
# what has long been answered; if every look of that time failed, its first writes would have nobody to tell.
_FIRST_LOOK_WITHIN_SECONDS = 1.0
_CLUSTER_NODES = ("CLUSTER", "NODES")


class Lookout:
    """Keeps `Nodes` right. One look at a time."""

    def __init__(self, address: RedisAddress, nodes: Nodes, *, timeout_seconds: float) -> None:
        self._address = address
        self._nodes = nodes
        self._timeout_seconds = timeout_seconds
        self._seeds: dict[Endpoint, Line] = {}
        self._looking: asyncio.Task[None] | None = None
        if address.mode is Mode.STANDALONE:
            nodes.adopt(everything_at(address.seeds[0]))

    async def look(self) -> None:
        """Ask everybody once; whoever comes while that is under way shares it."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        # A caller that gives up leaves it running for the others.
        await asyncio.shield(self._looking)

    @property
    def _timeout(self) -> float:
        return max(self._timeout_seconds, _LOOK_WITHIN_SECONDS if self._nodes.all else _FIRST_LOOK_WITHIN_SECONDS)

    async def close(self) -> None:
        """Stop looking and close what the looks have opened."""
        if self._looking is not None:
            await asyncio.wait({self._looking})
        await asyncio.gather(*(line.close() for line in self._seeds.values()))

    async def _look(self) -> None:
        if self._address.mode is Mode.SENTINEL:
            await self._find_primary()
        views = await asyncio.gather(*(self._ask_node(node) for node in self._nodes.all))
        if self._address.mode is Mode.CLUSTER:
            await self._put_together(views)

    async def _put_together(self, views: Sequence[list[Span] | None]) -> None:
        answered = [view for view in views if view is not None]
        # With a minority, this process may be on the wrong side of a split: what it reads there, nobody corrects.
        is_certain = 2 * len(answered) > len(views)
        if not any(answered):
            # Always the configured hosts, whatever the nodes called themselves: they may be elsewhere now.
            answered = [view for view in await self._ask_seeds() if view]
        if answered:
            self._nodes.adopt(merged(answered))
        if views and not is_certain:
            self._nodes.doubt_everything()

    async def _ask_node(self, node: Node) -> list[Span] | None:
        line = node.line
        try:
            async with asyncio.timeout(self._timeout):
                view = await self._view(line, node.endpoint)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no sign of life
            if node.line is line:
                self._nodes.note_failure(node, error)
            return None
        self._nodes.note_success(node)
        return view

    async def _view(self, line: Line, endpoint: Endpoint) -> list[Span]:
        of_cluster = [_CLUSTER_NODES] if self._address.mode is Mode.CLUSTER else []
        identity, *rest = await line.ask(("INFO", "replication"), *of_cluster)
        self._nodes.note_identity(endpoint, *identity_in(identity))
        return spans_in(rest[0].decode(), endpoint, prefers_names=self._address.is_tls) if rest else []

    async def _ask_seeds(self) -> list[list[Span] | None]:
        return await asyncio.gather(*(self._ask_seed(seed) for seed in self._address.seeds))

    async def _ask_seed(self, seed: Endpoint) -> list[Span] | None:
        line = self._seeds.get(seed) or self._line_to(seed)
        try:
            async with asyncio.timeout(self._timeout):
                (reply,) = await line.ask(_CLUSTER_NODES)
            return spans_in(reply.decode(), seed, prefers_names=self._address.is_tls)
        except Exception as error:  # noqa: BLE001 - the others are asked
            await self._drop(seed, error)
            return None

    async def _find_primary(self) -> None:
        answers = await asyncio.gather(*(self._ask_sentinel(seed) for seed in self._address.seeds))
        counted = Counter(answer for answer in answers if answer is not None)
        if counted:
            endpoint, votes = counted.most_common(1)[0]
            is_certain = 2 * votes > len(self._address.seeds)
            # A minority is believed only by who knows nothing better.
            if is_certain or not self._nodes.all:
                self._nodes.adopt(everything_at(endpoint))
        if not counted or not is_certain:
            self._nodes.doubt_everything()

    async def _ask_sentinel(self, seed: Endpoint) -> Endpoint | None:
        line = self._seeds.get(seed) or self._line_to(seed)
        try:
            async with asyncio.timeout(self._timeout):
                ((host, port),) = await line.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service))
            return Endpoint(host.decode(), int(port))
        except Exception as error:  # noqa: BLE001 - the others are asked
            await self._drop(seed, error)
            return None

    def _line_to(self, seed: Endpoint) -> Line:
        patience = _FIRST_LOOK_WITHIN_SECONDS
        if self._address.mode is Mode.SENTINEL:
            line = line_to_sentinel(self._address, seed, patience_seconds=patience)
        else:
            line = line_to_node(self._address, seed, patience_seconds=patience, on_identity=_ignore)
        self._seeds[seed] = line
        return line

    async def _drop(self, seed: Endpoint, error: Exception) -> None:
        log.info("cache.seed_failed", error=type(error).__name__, seed=str(seed))
        line = self._seeds.pop(seed, None)
        if line is not None:
            await line.close()


def _ignore(_role: str, _data_id: str) -> None:
    """Do nothing: a seed is only asked for the way."""
