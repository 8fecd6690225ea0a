"""A real cluster of Valkey on 127.0.0.1: three primaries with a replica each, which a test may break as it likes.

    with own_cluster() as cluster:                 # for a test: a folder and a guard of its own
    cluster = start_cluster(folder, guard)         # for something that lives longer; ends with the guard

It keeps nothing on disk but the nodes' knowledge of each other. All calls block: use `asyncio.to_thread`.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import servers
from tests.support.redis_nodes import RedisNode, free_ports

from telemed.local.account import server_account
from telemed.local.binaries import valkey_program
from telemed.local.processes import Guard, wait_until

SLOTS = 16_384
PRIMARIES = 3
# How long the nodes wait for one of them before they call it dead; a failover takes about twice as long.
NODE_TIMEOUT_MS = 2_000
SETTLE_WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class Member:
    """A node as one of the others sees it (a line of CLUSTER NODES)."""

    id: str
    port: int
    flags: frozenset[str]
    primary_id: str
    link: str
    slots: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> "Member":
        """Read `id host:port@busport[,name] flags primary ping pong epoch link slots…`."""
        id_, address, flags, primary, _ping, _pong, _epoch, link, *slots = line.split()
        port = address.partition("@")[0].rpartition(":")[2]
        return cls(id_, int(port), frozenset(flags.split(",")), primary, link, tuple(slots))

    @property
    def is_well(self) -> bool:
        """Tell whether nobody suspects it."""
        return self.link == "connected" and not self.flags & {"fail", "fail?", "handshake", "noaddr"}


class RedisCluster:
    """The six nodes; the first three begin as primaries, each with the node three places later as its replica."""

    def __init__(self, nodes: Sequence[RedisNode], password: str) -> None:
        self.nodes = tuple(nodes)
        self.password = password

    @property
    def url(self) -> str:
        """The value of REDIS_URL; names every node."""
        return self.url_of(*(node.address for node in self.nodes))

    def url_of(self, *addresses: str) -> str:
        """Give the value of REDIS_URL with other seeds."""
        return f"redis+cluster://:{self.password}@{','.join(addresses)}"

    @property
    def primaries(self) -> list[RedisNode]:
        """The running nodes that call themselves primary and serve slots."""
        return [node for node in self.nodes if self.role(node) == "primary"]

    @property
    def replicas(self) -> list[RedisNode]:
        """The running nodes that call themselves replica."""
        return [node for node in self.nodes if self.role(node) == "replica"]

    def role(self, node: RedisNode) -> str:
        """Say `primary`, `replica`, or `down` when it does not answer (frozen is down, too)."""
        try:
            myself = self._myself(node)
        except OSError:
            return "down"
        return "replica" if "slave" in myself.flags else "primary"

    def primary_of(self, key: str) -> RedisNode:
        """Name the node that serves a key's slot.

        Raises:
            LookupError: nobody does at this moment.
        """
        slot = int(self._any().command("CLUSTER", "KEYSLOT", key))
        ports = {member.port for member in self.members() if "fail" not in member.flags and _covers(member.slots, slot)}
        return self._at(ports)

    def replica_of(self, primary: RedisNode) -> RedisNode:
        """Name a running replica of a primary.

        Raises:
            LookupError: it has none.
        """
        primary_id = self._myself(primary).id
        ports = {member.port for member in self.members() if member.primary_id == primary_id and member.is_well}
        return self._at(ports)

    def members(self, seen_by: RedisNode | None = None) -> list[Member]:
        """Ask a node, or any that answers, who belongs to the cluster."""
        lines = (seen_by or self._any()).command("CLUSTER", "NODES").splitlines()
        return [Member.of(line) for line in lines if line.strip()]

    def kill(self, node: RedisNode) -> None:
        """End the node without a word; its data are gone."""
        node.kill()

    def freeze(self, node: RedisNode) -> None:
        """Let the node hang with its connections open."""
        node.freeze()

    def thaw(self, node: RedisNode) -> None:
        """Let a frozen node go on, as whatever it believed to be."""
        node.thaw()

    def restart(self, node: RedisNode, port: int | None = None) -> None:
        """Start a stopped node again, empty, under its old identity; on another port if one is given."""
        if port is not None:
            node.port = port
        node.start()

    def kill_all(self) -> None:
        """End every node."""
        for node in self.nodes:
            node.kill()

    def rebuild(self, ports: Sequence[int] | None = None) -> None:
        """Form a new, empty cluster of all nodes, on other ports unless *ports* says where."""
        self.kill_all()
        for node, port in zip(self.nodes, ports or free_ports(len(self.nodes)), strict=True):
            node.forget()
            node.port = port
        self.form()

    def flush(self) -> None:
        """Forget everything that is stored."""
        for node in self.primaries:
            node.command("FLUSHALL")

    def stop(self) -> None:
        """End every node, frozen ones too."""
        for node in self.nodes:
            node.stop()

    def form(self) -> None:
        """Start the nodes and make them one cluster; returns when every node sees every other in its role."""
        for place, node in enumerate(self.nodes):
            node.start()
            if place < PRIMARIES:
                first, last = place * SLOTS // PRIMARIES, (place + 1) * SLOTS // PRIMARIES - 1
                node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port)
        self._await(lambda: all(len(self.members(node)) == len(self.nodes) for node in self.nodes), "met")
        for place, node in enumerate(self.nodes[PRIMARIES:]):
            node.command("CLUSTER", "REPLICATE", self._myself(self.nodes[place % PRIMARIES]).id)
        self.await_health()

    def await_health(self) -> None:
        """Wait until every running node sees all of the running ones well, and each shard with what it needs."""
        self._await(lambda: all(self._is_content(node) for node in self.nodes if node.is_running), "settled")

    def _is_content(self, node: RedisNode) -> bool:
        running = {other.port for other in self.nodes if other.is_running}
        members = [member for member in self.members(node) if member.port in running]
        well = [member for member in members if member.is_well]
        serving = [member for member in well if "master" in member.flags and member.slots]
        return (
            len(well) == len(running)
            and len(serving) == PRIMARIES
            and "cluster_state:ok" in node.command("CLUSTER", "INFO")
            and self._is_linked(node)
        )

    def _is_linked(self, node: RedisNode) -> bool:
        replication = node.command("INFO", "replication")
        return "role:master" in replication or "master_link_status:up" in replication

    def _myself(self, node: RedisNode) -> Member:
        return next(member for member in self.members(node) if "myself" in member.flags)

    def _at(self, ports: set[int]) -> RedisNode:
        for node in self.nodes:
            if node.port in ports:
                return node
        raise LookupError("no such node at this moment")

    def _any(self) -> RedisNode:
        for node in self.nodes:
            if node.is_running and node.answers():
                return node
        raise LookupError("no node answers")

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            with contextlib.suppress(OSError):
                return condition()
            return False

        assert wait_until(holds, SETTLE_WITHIN_SECONDS, pause_seconds=0.1), f"the cluster has not {what}"


def _covers(slots: Sequence[str], slot: int) -> bool:
    for span in slots:
        first, _, last = span.partition("-")
        if first.isdigit() and int(first) <= slot <= int(last or first):
            return True
    return False


def _options(password: str) -> list[str]:
    return [
        f"masterauth {password}",
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        "cluster-announce-ip 127.0.0.1",
        f"cluster-node-timeout {NODE_TIMEOUT_MS}",
        # A shard that is down must not take the others with it, and a replica is promoted however old it is:
        # nothing is in here that cannot be lost.
        "cluster-require-full-coverage no",
        "cluster-replica-validity-factor 0",
        "repl-diskless-sync-delay 0",
        'save ""',
        "appendonly no",
        "maxmemory 64mb",
        "maxmemory-policy allkeys-lru",
    ]


def start_cluster(
    folder: Path, guard: Guard, *, ports: Sequence[int] | None = None, password: str | None = None
) -> RedisCluster:
    """Start six nodes with their files in *folder* and form the cluster; the guard stops them at the latest."""
    account = server_account()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    program = valkey_program(account, folder / "programs")
    password = password or secrets.token_urlsafe(18)
    count = 2 * PRIMARIES
    picked = list(ports) if ports is not None else free_ports(count)
    nodes = [
        RedisNode(
            f"redis-{place}",
            folder / f"node-{place}",
            picked[place],
            password,
            guard,
            program,
            account,
            _options(password),
        )
        for place in range(count)
    ]
    cluster = RedisCluster(nodes, password)
    cluster.form()
    return cluster


@contextlib.contextmanager
def own_cluster() -> Iterator[RedisCluster]:
    """Lend a cluster of one's own; it is gone afterwards, whatever was done to it."""
    with servers.server_folder("telemed-cluster-") as (folder, guard):
        cluster = start_cluster(folder / "cluster", guard)
        try:
            yield cluster
        finally:
            cluster.stop()
