"""The cluster of the cache: born as a member each, and whole again whatever happens to its pods."""

import contextlib
import json
import sys
from collections.abc import Iterator

import pytest
from tests.charts.data.cache_pods import Namespace, Pod, namespace, values_of
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127/8")
# One in each third of the slots, and some more.
KEYS = {f"key-{number}": f"value-{number}" for number in range(12)}
BORN = [True, True, True, False, False, False]  # who is a primary
# Each look is a few processes.
PATIENTLY = {"within_seconds": 40.0, "pause_seconds": 0.25}


class Clusters(contextlib.ExitStack):
    """Lends one cluster of six pods to one test after another: they take eight seconds to come up.

    A test gets it empty, and with everybody in the place that they were born into; otherwise it gets a new one.
    """

    present: Namespace | None = None

    async def new(self) -> Namespace:
        """Let six pods come up together, and wait until they are well."""
        self.close()
        self.present = made = self.enter_context(namespace("cluster"))
        for place in range(6):
            pod = Pod(f"telemed-data-cache-{place}", made.new_address(), "start-node.sh", made, has_tender=True)
            made.pods.append(pod)
        for pod in made.pods:
            pod.begin()
        await well(made)
        return made

    async def one(self) -> Namespace:
        """Give the cluster of the test before if nothing can be seen of that test any more."""
        if self.present is None or not is_as_born(self.present):
            return await self.new()
        pods = self.present.pods
        for pod in pods[:3]:
            assert pod.ask("flushall") == "OK"
        await until(lambda: all(pod.ask("dbsize") == "0" for pod in pods), **PATIENTLY)
        return self.present


def is_as_born(cluster: Namespace) -> bool:
    return all(pod.running and is_content(pod, cluster.pods) for pod in cluster.pods) and roles(cluster) == BORN


def roles(cluster: Namespace) -> list[bool]:
    """Tell of each pod whether it is a primary."""
    return [pod.is_primary() for pod in cluster.pods]


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    with Clusters() as lending:
        yield lending


@pytest.fixture
async def new_cluster(clusters: Clusters) -> Namespace:
    """Six pods that came up together and are well, for nobody else before."""
    return await clusters.new()


@pytest.fixture
async def cluster(clusters: Clusters) -> Namespace:
    """Six pods that came up together and are well."""
    return await clusters.one()


async def well(cluster: Namespace) -> None:
    """Wait until every pod that is there is ready, and sees all of them as they are."""
    there = [pod for pod in cluster.pods if pod.running]
    await until(lambda: all(is_content(pod, there) for pod in there), **PATIENTLY)


def is_content(pod: Pod, there: list[Pod]) -> bool:
    """Ask the probe last: it is several processes."""
    try:
        nodes = pod.ask("cluster", "nodes")
    except OSError:
        return False
    sees_all = nodes.count("\n") == 5 and all(
        any(f" {other.address}:6379@" in line and "fail" not in line for line in nodes.splitlines()) for other in there
    )
    return sees_all and pod.is_ready()


def fill(cluster: Namespace) -> None:
    """Write every key where it belongs."""
    for key, value in KEYS.items():
        answers = [pod.ask("set", key, json.dumps(value)) for pod in cluster.pods if pod.is_primary()]
        assert answers.count("OK") == 1, answers


async def copied(cluster: Namespace) -> None:
    """Wait until the replicas have what their primaries have."""

    def keys(*, primaries: bool) -> int:
        return sum(int(pod.ask("dbsize")) for pod in cluster.pods if pod.is_primary() is primaries)

    await until(lambda: keys(primaries=True) == keys(primaries=False) == len(KEYS), **PATIENTLY)


async def test_pods_that_come_up_together_are_a_cluster(new_cluster: Namespace) -> None:
    """Three primaries with a replica each and every slot; nobody formed it."""
    fill(new_cluster)
    assert values_of(new_cluster.pods, KEYS) == KEYS
    assert roles(new_cluster) == BORN
    info = new_cluster.pods[5].ask("cluster", "info")
    for line in ("cluster_slots_ok:16384", "cluster_known_nodes:6", "cluster_size:3"):
        assert line in info


async def test_all_pods_may_start_anew_at_once(cluster: Namespace) -> None:
    """At other addresses, remembering nothing, and with names that take their time."""
    for pod in cluster.pods:
        pod.kill()
    cluster.unknown = {pod.name for pod in cluster.pods[1:4]}
    for pod in cluster.pods:
        pod.begin(address=cluster.new_address())
    cluster.unknown.clear()
    cluster.tell_names()
    await well(cluster)
    fill(cluster)
    assert values_of(cluster.pods, KEYS) == KEYS


async def test_containers_may_all_start_anew_at_once(cluster: Namespace) -> None:
    """As after the restart of a machine: at other addresses, remembering the old ones."""
    for pod in cluster.pods:
        pod.kill()
    for pod in cluster.pods:
        pod.begin(address=cluster.new_address(), keeps_data=True)
    await well(cluster)
    fill(cluster)
    assert values_of(cluster.pods, KEYS) == KEYS


async def test_a_lost_primary_has_an_heir_and_comes_back_as_its_replica(cluster: Namespace) -> None:
    """It claims its old place with nothing in it; nobody believes it, and nothing that is cached is lost."""
    lost, heir = cluster.pods[0], cluster.pods[3]
    fill(cluster)
    await copied(cluster)
    lost.kill()
    await until(heir.is_primary, **PATIENTLY)
    assert values_of(cluster.pods[1:], KEYS) == KEYS

    lost.begin(address=cluster.new_address())
    await well(cluster)
    await until(lambda: not lost.is_primary(), **PATIENTLY)
    assert heir.is_primary()
    assert values_of(cluster.pods, KEYS) == KEYS
    await copied(cluster)


async def test_a_shard_that_is_lost_whole_comes_back_empty(cluster: Namespace) -> None:
    """Primary and replica together; the others go on meanwhile."""
    fill(cluster)
    await copied(cluster)
    cluster.pods[1].kill()
    cluster.pods[4].kill()
    others = [pod for pod in cluster.pods if pod.running]
    kept = values_of(others, KEYS)
    assert 0 < len(kept) < len(KEYS)
    for pod in (cluster.pods[4], cluster.pods[1]):
        pod.begin(address=cluster.new_address())
    await well(cluster)
    fill(cluster)
    assert values_of(cluster.pods, KEYS) == KEYS


async def test_two_primaries_may_be_lost_at_once(cluster: Namespace) -> None:
    """Without a majority nobody is promoted; the lost ones come back into their own places."""
    fill(cluster)
    for pod in cluster.pods[:2]:
        pod.kill()
    for pod in cluster.pods[:2]:
        pod.begin(address=cluster.new_address())
    await well(cluster)
    fill(cluster)
    assert values_of(cluster.pods, KEYS) == KEYS


async def test_a_rolling_restart_keeps_what_is_cached(cluster: Namespace) -> None:
    """As the StatefulSet does it: the last pod first, at another address, and the next only when it is ready."""
    fill(cluster)
    await copied(cluster)
    for pod in reversed(cluster.pods):
        pod.delete()
        pod.begin(address=cluster.new_address())
        await well(cluster)
    assert values_of(cluster.pods, KEYS) == KEYS
