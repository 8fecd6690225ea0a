"""The cache on a real cluster: nodes die, hang, swap slots and come back elsewhere, and each shard is for itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.events import LoggedEvents
from tests.support.proxy import proxy_to
from tests.support.redis_cluster import RedisCluster, own_cluster
from tests.support.redis_nodes import RedisNode
from tests.support.waiting import until

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Command
from telemed.kernel.cache.shared import SharedQuestions
from telemed.kernel.cache.topology import slot_of
from telemed.kernel.clock import SystemClock
from telemed.kernel.telemetry.metrics import Metrics

BOUND_SECONDS = 0.25  # the machine that runs the tests is busy with them


@pytest.fixture(scope="module")
def lasting_cluster() -> Iterator[RedisCluster]:
    with own_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(lasting_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """The six nodes, all well; whatever the test did to them is made good."""
    yield lasting_cluster
    for node in lasting_cluster.nodes:
        if node.is_running:
            node.thaw()
        else:
            lasting_cluster.restart(node)
    lasting_cluster.await_health()


@pytest.fixture
async def cache(cluster: RedisCluster) -> AsyncIterator[Cache]:
    made = open_cache(cluster.url)
    # It has found out who serves what; until then a burst of calls may be refused.
    await until(lambda: answers(made, "any key"))
    yield made
    await made.close()


def open_cache(url: str, *, bound_seconds: float = BOUND_SECONDS) -> Cache:
    return Cache(parse_address(url), timeout_seconds=bound_seconds, clock=SystemClock(), metrics=Metrics())


def keys_by_node(cluster: RedisCluster) -> list[tuple[RedisNode, str]]:
    """A key for each primary."""
    found: dict[RedisNode, str] = {}
    for number in range(100):
        key = f"{{scope {number}}}"
        found.setdefault(cluster.primary_of(key), key)
        if len(found) == 3:
            break
    return list(found.items())


async def get(cache: Cache, key: str) -> object:
    (value,) = await cache.run(key, lambda line: line.ask(("GET", key)))
    return value


async def answers(cache: Cache, key: str) -> bool:
    try:
        await get(cache, key)
    except CacheUnavailable:
        return False
    return True


def set_to(key: str, value: str) -> list[Command]:
    return [("SET", key, value)]


async def test_every_key_finds_its_node(cluster: RedisCluster) -> None:
    """Three hundred scopes all over the cluster, in one call and one by one, without being sent on once."""
    patient = open_cache(cluster.url, bound_seconds=20)  # three hundred connections at once take a busy machine a while
    await until(lambda: answers(patient, "any key"))
    redirected = redirections(cluster)
    keys = [f"{{scope {number}}}:key" for number in range(300)]

    await patient.run_all({key: set_to(key, key) for key in keys})

    assert [await get(patient, key) for key in keys] == [key.encode() for key in keys]
    assert redirections(cluster) == redirected
    await patient.close()


async def test_shared_questions_go_to_whom_they_concern(cluster: RedisCluster) -> None:
    """Three hundred scopes at once, each to its own node, without being sent on once."""
    patient = open_cache(cluster.url, bound_seconds=20)
    await until(lambda: answers(patient, "any key"))
    redirected, questions = redirections(cluster), SharedQuestions(patient)
    keys = [f"{{shared {number}}}:key" for number in range(300)]

    found = await asyncio.gather(
        *(questions.ask(key, [*set_to(key, key), ("GET", key)], lambda replies: replies[1]) for key in keys)
    )

    assert found == [key.encode() for key in keys]
    assert redirections(cluster) == redirected
    await patient.close()


def redirections(cluster: RedisCluster) -> str:
    return "".join(
        line
        for node in cluster.nodes
        for line in node.command("INFO", "errorstats").splitlines()
        if "MOVED" in line or "CROSSSLOT" in line
    )


async def test_a_process_begins_when_it_knows_whom_to_tell(cluster: RedisCluster) -> None:
    """A cluster that is slow to say who serves what delays the start: the first booking's note must find its place."""
    async with proxy_to(cluster.nodes[0].port) as proxy:
        cache = open_cache(cluster.url_of(f"127.0.0.1:{proxy.port}"))
        proxy.freeze()
        asyncio.get_running_loop().call_later(2 * BOUND_SECONDS, proxy.thaw)

        async with cache.watched():
            assert all([await answers(cache, key) for _, key in keys_by_node(cluster)])
        await cache.close()


async def test_a_process_begins_without_redis(cluster: RedisCluster) -> None:
    """One that is gone, or hangs, keeps nobody from starting."""
    async with proxy_to(cluster.nodes[0].port) as proxy:
        proxy.freeze()
        cache = open_cache(cluster.url_of(f"127.0.0.1:{proxy.port}"))
        async with asyncio.timeout(10), cache.watched():
            assert not await answers(cache, "any key")
        await cache.close()


async def test_a_frozen_node_costs_its_own_keys_only(cache: Cache, cluster: RedisCluster) -> None:
    """Its keys cost the bound a few times; the others' answer as ever, and what they hold is trusted as before."""
    (victim, lost), *others = keys_by_node(cluster)
    assert await answers(cache, lost)
    before = [cache.doubted_at(key) for _, key in others]
    cluster.freeze(victim)

    started = time.monotonic()
    for _ in range(100):
        assert not await answers(cache, lost)
        assert all([await answers(cache, key) for _, key in others])
    assert time.monotonic() - started < 100 * BOUND_SECONDS / 4
    assert [cache.doubted_at(key) for _, key in others] == before
    assert cache.failed_at(lost) is not None


async def test_a_part_that_fails_neither_stops_the_others_nor_passes_for_done(
    cache: Cache, cluster: RedisCluster
) -> None:
    """One call for keys of three nodes, of which one hangs."""
    (victim, lost), *others = keys_by_node(cluster)
    assert await answers(cache, lost)
    cluster.freeze(victim)

    with pytest.raises(CacheUnavailable):
        await cache.run_all({key: set_to(key, "done") for key in (lost, *(key for _, key in others))}, urgent=True)

    assert [await get(cache, key) for _, key in others] == [b"done", b"done"]


async def test_a_killed_primary_is_followed_by_its_heir(cache: Cache, cluster: RedisCluster) -> None:
    """Without a restart; and what the heir holds is doubted, because notes are copied to it late."""
    (victim, key), (_, other), _ = keys_by_node(cluster)
    heir = cluster.replica_of(victim)
    async with cache.watched():
        await until(lambda: answers(cache, key))
        loaded_at, other_doubted_at = SystemClock().now(), cache.doubted_at(other)

        cluster.kill(victim)

        await until(lambda: cluster.role(heir) == "primary", within_seconds=30)
        await until(lambda: answers(cache, key))
        assert cache.doubted_at(key) > loaded_at
        assert cache.doubted_at(other) == other_doubted_at


async def test_an_idle_process_doubts_what_an_heir_holds(cache: Cache, cluster: RedisCluster) -> None:
    """It has asked nothing all the time, and still does not believe the first page that it sees."""
    (victim, key), *_ = keys_by_node(cluster)
    heir = cluster.replica_of(victim)
    async with cache.watched():
        await until(lambda: answers(cache, key))
        loaded_at = SystemClock().now()

        cluster.kill(victim)
        await until(lambda: cluster.role(heir) == "primary", within_seconds=30)

        await until(lambda: answers(cache, key))
        assert cache.doubted_at(key) > loaded_at


async def test_a_slot_that_moved_is_found_and_doubted(cache: Cache, cluster: RedisCluster) -> None:
    """The very next call reaches the new holder; only that slot is doubted at once."""
    (old, key), (new, other), _ = keys_by_node(cluster)
    assert await answers(cache, key)
    slot, before = slot_of(key), cache.doubted_at(other)
    new_id = next(member.id for member in cluster.members(new) if "myself" in member.flags)
    old_id = next(member.id for member in cluster.members(old) if "myself" in member.flags)
    cluster.flush()
    loaded_at = SystemClock().now()
    try:
        for node in (new, *(node for node in cluster.nodes if node is not new)):
            if cluster.role(node) == "primary":
                node.command("CLUSTER", "SETSLOT", slot, "NODE", new_id)

        assert await answers(cache, key)
        assert cache.doubted_at(key) > loaded_at
        assert cache.doubted_at(other) == before
    finally:
        for node in cluster.nodes:
            if cluster.role(node) == "primary":
                node.command("CLUSTER", "SETSLOT", slot, "NODE", old_id)
        await until(lambda: all(len(member.slots) < 2 for member in cluster.members()))


async def test_a_cancelled_command_never_gives_its_answer_to_another(cache: Cache) -> None:
    """On a cluster as on one server."""

    async def ask(number: int) -> bool:
        key = f"{{{number}}}"
        return await cache.run(key, lambda line: line.ask(("EVAL", "return KEYS[1]", 1, key))) == [key.encode()]

    for turn in range(30):
        tasks = [asyncio.create_task(ask(number)) for number in range(20)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {result for result in results if isinstance(result, bool)} <= {True}


async def test_a_crowd_does_not_open_a_breaker(cluster: RedisCluster, events: LoggedEvents) -> None:
    """More callers than connections wait their turn."""
    # Long enough for a turn on a busy machine: what is asked is whether anybody is turned away, not how fast it goes.
    cache = open_cache(cluster.url, bound_seconds=5.0)
    try:
        await until(lambda: answers(cache, "any key"))
        answered = await asyncio.gather(*(answers(cache, f"{{{number}}}") for number in range(500)))
    finally:
        await cache.close()

    assert all(answered)
    assert not events.named("cache.lost")


async def test_a_client_that_got_stuck_is_built_anew(
    cache: Cache, cluster: RedisCluster, events: LoggedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is always about to be made: nothing but a new line helps."""
    monkeypatch.setattr("telemed.kernel.cache.client._WATCH_SECONDS", 0.1)
    (_, key), *_ = keys_by_node(cluster)
    assert await answers(cache, key)
    node = cache._nodes.serving(slot_of(key))
    assert node is not None
    node.line.hang_up()
    # Never done, and never a connection: like a task that hangs, without being one that would have to be ended.
    node.line._connecting = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
    assert not await answers(cache, key)
    async with cache.watched():
        await until(lambda: answers(cache, key), within_seconds=15)
    assert len(events.named("cache.client_rebuilt")) == 1
    assert cache._nodes._metrics.cache_rebuilds._value.get() == 1


async def test_all_of_redis_comes_back_elsewhere_behind_the_same_address(cluster: RedisCluster) -> None:
    """Every node is killed and a new, empty cluster runs on other ports: found again through the configured host."""
    async with proxy_to(cluster.nodes[0].port) as proxy:
        cache = open_cache(cluster.url_of(f"127.0.0.1:{proxy.port}"))
        try:
            async with cache.watched():
                await until(lambda: answers(cache, "key"))
                cluster.kill_all()
                proxy.cut()
                await until(lambda: not_answering(cache))
                await asyncio.to_thread(cluster.rebuild)
                proxy.server_port = cluster.nodes[0].port

                started = time.monotonic()
                for _, key in keys_by_node(cluster):
                    await until(lambda key=key: answers(cache, key), within_seconds=15)  # type: ignore[misc]
                assert time.monotonic() - started < 10
        finally:
            await cache.close()


async def not_answering(cache: Cache) -> bool:
    return not await answers(cache, "key")
