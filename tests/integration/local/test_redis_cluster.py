"""The cluster that tests and the twin borrow: real nodes that can be killed, moved and frozen, and gone afterwards."""

from tests.support.redis_cluster import own_cluster
from tests.support.redis_nodes import free_ports
from tests.support.waiting import until

from telemed.local.processes import wait_until


async def test_a_killed_primary_is_replaced_and_comes_back_elsewhere() -> None:
    """The replica takes over; the old primary joins again, on another port, as its replica; a frozen node is down."""
    with own_cluster() as cluster:
        assert sorted(cluster.role(node) for node in cluster.nodes) == ["primary"] * 3 + ["replica"] * 3
        victim = cluster.primary_of("any key")
        heir = cluster.replica_of(victim)

        cluster.kill(victim)
        await until(lambda: cluster.role(heir) == "primary", within_seconds=30)
        cluster.restart(victim, free_ports(1)[0])
        cluster.await_health()

        assert cluster.role(victim) == "replica"
        assert cluster.replica_of(heir) is victim
        cluster.freeze(victim)
        assert cluster.role(victim) == "down"
    assert wait_until(lambda: not any(node.is_running for node in cluster.nodes), within_seconds=5)
