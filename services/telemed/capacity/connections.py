"""How many connections processes and poolers can open at most, and whether there is room for them. Pure.

Worst cases, not averages: what is refused a connection is a request that fails. The command plans with them, and the
tests hold the charts, docker-compose.yml and the twin to them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# Each pool has one connection beside it, which looks whether the server is well.
LOOKOUT = 1
# During an update: those that end still finish their requests while as many new ones have begun.
GENERATIONS = 2


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of one kind. *primary* and *replicas* say how many addresses of each pooler a process is given.

    An address that is named twice, so that a read has a second try, counts twice: it has two pools.
    """

    name: str
    most: int
    pool_size: int
    primary: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Pooler:
    """The PgBouncers in front of one side. *roles* log in through it, each with pools of its own in each pod."""

    name: str
    instances: int
    surge: int
    roles: int
    default_pool_size: int
    reserve_pool_size: int
    max_db_connections: int
    max_client_conn: int

    @property
    def server_connections(self) -> int:
        """Give what all pods together can open to one database, with those that a rollout adds."""
        by_pools = self.roles * (self.default_pool_size + self.reserve_pool_size)
        each = min(by_pools, self.max_db_connections) if self.max_db_connections else by_pools
        return (self.instances + self.surge) * each


def clients_of(processes: Iterable[Processes], side: str) -> int:
    """Give the connections that all processes together can open to *side*, `primary` or `replicas`."""
    return sum(
        GENERATIONS * kind.most * (kind.pool_size + LOOKOUT) * (kind.primary if side == "primary" else kind.replicas)
        for kind in processes
    )


def excesses(
    processes: Iterable[Processes],
    poolers: dict[str, Pooler],
    max_connections: int,
    reserved: int,
    *,
    sides_meet: bool = True,
) -> list[str]:
    """Name every bound that can be exceeded, in whole sentences; nothing if none can.

    *poolers* are by side. One pod of a pooler must have room for all clients: Services spread connections at random,
    and during a rollout one pod may be the only one. A server can have the connections of both sides: a replica that
    is promoted keeps those of its readers for a while. *sides_meet* is false where nobody promotes.
    """
    kinds = list(processes)
    found = []
    for side, pooler in poolers.items():
        clients = clients_of(kinds, side)
        if clients > pooler.max_client_conn:
            found.append(
                f"{pooler.name}: {clients} clients can come, max_client_conn is {pooler.max_client_conn}: "
                f"{', '.join(f'{kind.most} {kind.name}' for kind in kinds)}."
            )
    all_sides = [pooler.server_connections for pooler in poolers.values()]
    servers = sum(all_sides) if sides_meet else max(all_sides)
    if servers > max_connections - reserved:
        parts = ", ".join(f"{pooler.server_connections} by {pooler.name}" for pooler in poolers.values())
        found.append(
            f"PostgreSQL: {servers} connections can come ({parts}), max_connections {max_connections} minus "
            f"{reserved} in reserve leaves {max_connections - reserved}."
        )
    return found
