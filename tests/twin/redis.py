"""The six Redis nodes in cluster mode, behind seed addresses that stay when the nodes move."""

import asyncio
from pathlib import Path

from tests.support.redis_cluster import PRIMARIES, RedisCluster, start_cluster
from tests.support.redis_nodes import RedisNode
from tests.twin.forwarder import Forwarder
from tests.twin.member import Member
from tests.twin.ports import Ports

from telemed.local.processes import Guard, Running

SEEDS = 2


class RedisMember(Member):
    """One node of the cluster."""

    def __init__(self, node: RedisNode) -> None:
        super().__init__(node.name, "redis", node.port, self._launch, self._answers)
        self.node = node
        self.running = node.running
        self.starts = 1  # by the cluster, which it could not form alone

    def _launch(self) -> Running:
        self.node.start()
        return self.adopt()

    def adopt(self) -> Running:
        """Take over what the cluster has started by itself, perhaps at another port."""
        assert self.node.running is not None
        self.running, self.port = self.node.running, self.node.port
        return self.running

    async def _answers(self) -> bool:
        return await asyncio.to_thread(self.node.answers)


class Redis:
    """The cluster of this twin."""

    def __init__(self, cluster: RedisCluster, ports: Ports) -> None:
        self.cluster = cluster
        self._ports = ports
        self.members = [RedisMember(node) for node in cluster.nodes]
        self._seeds = [Forwarder(self._somebody) for _ in range(SEEDS)]

    async def open(self) -> None:
        """Begin to answer at the seed addresses."""
        for seed in self._seeds:
            await seed.start(*self._ports.take(1))

    async def close(self) -> None:
        """Give the seed addresses up."""
        for seed in self._seeds:
            await seed.close()

    @property
    def url(self) -> str:
        """The value of REDIS_URL, which stays true whatever happens to the nodes."""
        return self.cluster.url_of(*(f"127.0.0.1:{seed.port}" for seed in self._seeds))

    async def rebuild(self) -> None:
        """Kill all nodes and form a new, empty cluster at other addresses."""
        await asyncio.to_thread(self.cluster.rebuild, self._ports.take(len(self.members)))
        for member in self.members:
            member.adopt()

    def _somebody(self) -> int | None:
        return next((member.port for member in self.members if member.is_running and not member.frozen), None)


async def start_redis(folder: Path, guard: Guard, ports: Ports) -> Redis:
    """Start six nodes and form the cluster."""
    picked = ports.take(2 * PRIMARIES)
    redis = Redis(await asyncio.to_thread(start_cluster, folder, guard, ports=picked), ports)
    await redis.open()
    return redis
