"""Servers and sentinels of the cache: who is the primary is known to most, also after any of them has started anew.

Names must lead somewhere for Valkey itself, and here is no DNS: so pods are named by the first three numbers of their
address, Services by the fourth. A pod that comes back has the same address, then; names that move are not tried here.
"""

import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from tests.charts.data.cache_pods import Namespace, Pod, namespace
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127/8")
SERVERS, SENTINELS = "52", "53"
PATIENTLY = {"within_seconds": 60.0, "pause_seconds": 0.25}


@dataclass
class Watched:
    """Three servers and three sentinels."""

    around: Namespace
    servers: Sequence[Pod]
    sentinels: Sequence[Pod]

    async def settled(self) -> Pod:
        """Wait until all agree on one primary that the others follow; return it."""
        await until(self._is_settled, **PATIENTLY)
        return next(server for server in self.servers if server.is_primary())

    def elected(self) -> set[str]:
        """Give whom the sentinels call the primary."""
        return {
            sentinel.ask("sentinel", "get-primary-addr-by-name", "telemed", port=26379).partition("\n")[0]
            for sentinel in self.sentinels
        }

    def _is_settled(self) -> bool:
        try:
            primaries = {server.address for server in self.servers if server.is_primary()}
            known = [sentinel.ask("info", "sentinel", port=26379) for sentinel in self.sentinels]
            return (
                len(primaries) == 1
                and self.elected() == primaries
                and all(server.is_ready() for server in self.servers)
                and all("slaves=2,sentinels=3" in text for text in known)
            )
        except OSError:
            return False


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    block = f"127.{random.randint(2, 250)}"  # noqa: S311 - not a secret
    names = {f"{block}.{place}": place for place in range(1, 7)}
    first = f"{block}.1.{SERVERS}"
    with namespace("sentinel", NODES=SERVERS, FIRST=first, SENTINELS=f"set {SENTINELS}") as made:
        pods = [
            Pod(name, f"{name}.{SERVERS if place <= 3 else SENTINELS}", script, made)
            for name, place in names.items()
            for script in ["start-server.sh" if place <= 3 else "start-sentinel.sh"]
        ]
        made.pods += pods
        # The names by which the scripts look for sentinels, and those that getent knows.
        made.more_names = {f"set-{place}.{SENTINELS}": pod.address for place, pod in enumerate(pods[3:])}
        made.more_names |= {pod.address: pod.address for pod in pods}
        for pod in pods:
            pod.begin()
        lent = Watched(made, pods[:3], pods[3:])
        assert (await lent.settled()).address == first
        yield lent


async def test_a_lost_primary_comes_back_as_a_replica(watched: Watched) -> None:
    """It asks the sentinels, and not the chart, who the primary is."""
    lost = watched.servers[0]
    lost.kill()
    await until(lambda: any(server.is_primary() for server in watched.servers[1:]), **PATIENTLY)
    await until(lambda: lost.address not in watched.elected() and len(watched.elected()) == 1, **PATIENTLY)
    lost.begin()
    primary = await watched.settled()
    assert primary is not lost
    assert f"replicaof {primary.address}" in (lost.data / "valkey.conf").read_text()

    # A sentinel that remembers nothing asks the others.
    sentinel = watched.sentinels[0]
    sentinel.kill()
    sentinel.begin()
    assert await watched.settled() is primary
    assert watched.elected() == {primary.address}


async def test_all_may_start_anew_at_once(watched: Watched) -> None:
    """Then nobody knows anything, and the first server is the primary."""
    for pod in watched.around.pods:
        pod.kill()
    for pod in watched.around.pods:
        pod.begin()
    assert await watched.settled() is watched.servers[0]
