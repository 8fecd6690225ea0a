"""The cache behind real sentinels: the new primary is found, and the old one is not believed when it comes back."""

from tests.support.redis_sentinels import own_sentinels
from tests.support.waiting import until

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache, CacheUnavailable
from telemed.kernel.cache.line import Line
from telemed.kernel.clock import SystemClock
from telemed.kernel.telemetry.metrics import Metrics


async def test_a_failover_is_followed_and_doubted() -> None:
    """The primary hangs, its replica is promoted, and the old one wakes up: writes reach the new one all along."""
    with own_sentinels() as lent:
        old, new = lent.servers
        metrics = Metrics()
        cache = Cache(parse_address(lent.url), timeout_seconds=0.25, clock=SystemClock(), metrics=metrics)

        async def write(line: Line) -> object:
            return await line.ask(("SET", "key", "after"))

        async def is_written() -> bool:
            try:
                await cache.run("key", write)
            except CacheUnavailable:
                return False
            return True

        try:
            async with cache.watched():
                assert await is_written()
                loaded_at = SystemClock().now()

                old.freeze()
                await until(lambda: lent.is_primary(new), within_seconds=30)
                await until(is_written)
                assert cache.doubted_at("key") > loaded_at
                assert new.command("GET", "key").strip() == "after"

                old.thaw()
                await until(lambda: not lent.is_primary(old), within_seconds=30)
                assert await is_written()
        finally:
            await cache.close()


async def test_a_server_that_is_a_replica_now_is_not_used() -> None:
    """Demoted under the feet of a process that knows no other address: it answers reads, and is not asked."""
    with own_sentinels() as lent:
        primary, replica = lent.servers
        url = f"redis://:{lent.password}@{replica.address}/0"
        cache = Cache(parse_address(url), timeout_seconds=0.25, clock=SystemClock(), metrics=Metrics())

        async def read(line: Line) -> object:
            return await line.ask(("GET", "key"))

        async def is_read() -> bool:
            try:
                await cache.run("key", read)
            except CacheUnavailable:
                return False
            return True

        try:
            assert not await is_read()
            primary.kill()
            await until(lambda: lent.is_primary(replica), within_seconds=30)
            await until(is_read)
        finally:
            await cache.close()
