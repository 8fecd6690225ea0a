"""The servers that this process talks to, each with its own line and its own breaker.

One breaker for each: with a single one for a whole cluster, the answers of healthy nodes would keep it closed while
every question to a frozen node costs its time-out, or a dead node would open it and take the healthy ones away.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from telemed.kernel.cache.addresses import Endpoint, Mode, RedisAddress
from telemed.kernel.cache.breaker import Breaker
from telemed.kernel.cache.connections import line_to_node, require_primary
from telemed.kernel.cache.line import Line
from telemed.kernel.cache.topology import SLOTS, Holder, Span
from telemed.kernel.clock import Clock
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("cache")

# A line that only fails for so long is thrown away and built anew: a few of the breaker's trials, one a second, have
# failed by then, and a server that was restarted is back.
REBUILD_AFTER = timedelta(seconds=5)


@dataclass(eq=False, slots=True)
class Node:
    """One server."""

    endpoint: Endpoint
    line: Line
    doubted_at: datetime  # something may have been lost from all of its slots
    breaker: Breaker = field(default_factory=Breaker)
    insistence: Breaker = field(default_factory=Breaker)  # of what is urgent; see the cache's client
    data_id: str | None = None  # of the data set that it had when it was last asked
    failing_since: float | None = None  # monotonic; None while it answers


class Nodes:
    """Who serves which slot, as far as this process knows, and since when what lies there can be trusted."""

    def __init__(
        self,
        address: RedisAddress,
        *,
        patience_seconds: float,
        clock: Clock,
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._metrics = metrics
        self._monotonic = monotonic
        self._topology: tuple[Span, ...] = ()
        self._holders: list[Holder | None] = [None] * SLOTS
        self._nodes: dict[Endpoint, Node] = {}
        # Nobody who has just come knows what was lost a moment ago: what others stored before is not trusted.
        self.born_at = clock.now() - timedelta(microseconds=1)
        self._changed_at: list[datetime] = [self.born_at] * SLOTS
        self._closing: set[asyncio.Task[None]] = set()

    def serving(self, slot: int) -> Node | None:
        """Name the node to ask; None when nobody is known."""
        holder = self._holders[slot]
        return self._nodes[holder.endpoint] if holder is not None else None

    @property
    def all(self) -> list[Node]:
        """Every node that serves slots."""
        return list(self._nodes.values())

    def doubted_at(self, slot: int) -> datetime:
        """Say when something may last have been lost from this slot; what was stored before is not trusted."""
        node = self.serving(slot)
        return max(self._changed_at[slot], node.doubted_at) if node is not None else self._clock.now()

    def doubt_everything(self) -> None:
        """Trust nothing that is stored anywhere."""
        self._changed_at = [self._clock.now()] * SLOTS

    def doubt(self, slot: int) -> None:
        """Trust nothing that is stored in this slot."""
        self._changed_at[slot] = self._clock.now()

    def note_success(self, node: Node) -> None:
        """Note that it answered."""
        if node.breaker.is_open:
            log.info("cache.recovered", node=str(node.endpoint))
        node.failing_since = None
        node.breaker.succeeded()
        node.insistence.succeeded()
        self._show_breakers()

    def note_failure(self, node: Node, error: BaseException) -> None:
        """Note that it did not answer, or not with sense: notes may be missing from all of its slots."""
        node.doubted_at = self._clock.now()
        was_open = node.breaker.is_open
        node.breaker.failed()
        if node.failing_since is None:
            node.failing_since = self._monotonic()
        if node.breaker.is_open and not was_open:
            log.warning("cache.lost", error=type(error).__name__, node=str(node.endpoint))
        self._show_breakers()

    def note_identity(self, endpoint: Endpoint, role: str, data_id: str) -> None:
        """Note who answers there; with another data set than before, what is stored is not trusted.

        Raises:
            ReadOnlyError: it is a replica. (A replica of a cluster sends its callers to the primary by itself.)
        """
        if self._address.mode is not Mode.CLUSTER:
            require_primary(role)
        node = self._nodes.get(endpoint)
        if node is not None and node.data_id != data_id:
            if node.data_id is not None:
                log.warning("cache.replaced", node=str(endpoint))
                node.doubted_at = self._clock.now()
            node.data_id = data_id

    def adopt(self, topology: tuple[Span, ...]) -> None:
        """Take over what is known now; slots that changed hands are not trusted: notes are copied late."""
        if topology == self._topology:
            return
        now = self._clock.now() if self._nodes else self.born_at
        before = self._holders
        after: list[Holder | None] = [None] * SLOTS
        for span in topology:
            after[span.first : span.last + 1] = [span.holder] * (span.last + 1 - span.first)
        for slot in range(SLOTS):
            if before[slot] != after[slot]:
                self._changed_at[slot] = max(self._changed_at[slot], now)
        self._topology, self._holders = topology, after
        self._keep_only({holder.endpoint for holder in after if holder is not None})

    def learn(self, slot: int, endpoint: Endpoint) -> Node:
        """Take over a node's word that another one serves this slot now."""
        self.doubt(slot)
        self._holders[slot] = Holder(endpoint)
        self._topology = ()  # whatever is read next differs from what we use
        if endpoint not in self._nodes:
            self._nodes[endpoint] = self._made(endpoint)
        return self._nodes[endpoint]

    def rebuild_stuck(self) -> None:
        """Give a new line to every node that has only failed for REBUILD_AFTER; at most as often again.

        The last resort against states that nobody foresaw; clients of Redis have a history of them (redis-py#3929).
        """
        now = self._monotonic()
        for node in self.all:
            if node.failing_since is not None and now - node.failing_since >= REBUILD_AFTER.total_seconds():
                log.warning("cache.client_rebuilt", node=str(node.endpoint))
                self._metrics.cache_rebuilds.inc()
                self._close(node.line)
                node.line = self._line_to(node.endpoint)
                node.failing_since = now

    async def close(self) -> None:
        """Close every connection."""
        self._keep_only(set())
        if self._closing:
            await asyncio.wait(self._closing)

    def _keep_only(self, wanted: set[Endpoint]) -> None:
        for endpoint in set(self._nodes) - wanted:
            self._close(self._nodes.pop(endpoint).line)
        for endpoint in wanted - set(self._nodes):
            self._nodes[endpoint] = self._made(endpoint)
        self._show_breakers()

    def _made(self, endpoint: Endpoint) -> Node:
        return Node(endpoint, self._line_to(endpoint), doubted_at=self.born_at)

    def _line_to(self, endpoint: Endpoint) -> Line:
        return line_to_node(
            self._address,
            endpoint,
            patience_seconds=self._patience_seconds,
            on_identity=lambda role, data_id: self.note_identity(endpoint, role, data_id),
        )

    def _close(self, line: Line) -> None:
        """Close in the background: a server that hangs lets nobody wait."""
        task = asyncio.create_task(line.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _show_breakers(self) -> None:
        self._metrics.breaker_open.set(sum(node.breaker.is_open for node in self._nodes.values()))
