"""The warden promotes nobody who may lack what somebody was promised, and always finds somebody in the end."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from tests.servers import server_folder
from tests.support.programs import require_program
from tests.support.waiting import until
from tests.twin.assembly import LOGINS
from tests.twin.poolers import Pooler, ro_targets, rw_targets, verifiers_of
from tests.twin.ports import Ports
from tests.twin.postgres import MONITOR, REPLICATOR, Node, Postgres, start_cluster
from tests.twin.warden import Warden

from telemed.local import roles
from telemed.local.account import server_account


@pytest.fixture
async def warden() -> AsyncIterator[Warden]:
    """A cluster with its poolers and a warden that does not watch yet; there is a table `promised`."""
    require_program("pgbouncer")
    passwords = {name: secrets.token_urlsafe(18) for name in (*LOGINS, REPLICATOR, MONITOR)}
    async with AsyncExitStack() as stack:
        folder, guard = stack.enter_context(server_folder("telemed-warden-"))
        ports = Ports()
        stack.callback(ports.close)
        cluster = await start_cluster(folder, guard, ports, passwords, {}, {})
        for node in cluster.nodes:
            stack.push_async_callback(node.kill)
        verifiers = await verifiers_of(cluster.primary, (*roles.LOGINS, MONITOR))
        targets = {"rw": rw_targets(cluster), "ro": ro_targets(cluster.replicas)}
        poolers = [
            Pooler(
                f"pooler-{name}",
                f"pgbouncer-{name}.ini",
                folder / name,
                guard,
                server_account(),
                port=ports.take(1)[0],
                targets=targets[name],
                verifiers=verifiers,
            )
            for name in ("rw", "ro")
        ]
        rw, ro = poolers
        for pooler in poolers:
            await pooler.start()
            stack.push_async_callback(pooler.kill)
        async with cluster.primary.connect() as connection:
            await connection.execute("CREATE TABLE promised (number integer PRIMARY KEY)")
            await connection.execute("GRANT ALL ON promised TO telemed_services")
        made = Warden(cluster, rw, ro)
        stack.push_async_callback(made.close)
        yield made


async def test_the_replica_that_has_the_promise_is_promoted(warden: Warden) -> None:
    """One replica was cut off when the write was confirmed: the other one has it."""
    cluster = warden.postgres
    behind, ahead = cluster.replicas
    await cluster.unfollow(behind)
    await promise(warden, 1)
    assert (await warden.fail_over()).new == ahead.name
    await promise(warden, 2)
    assert await promises(cluster) == {1, 2}


async def test_nobody_is_promoted_while_a_replica_is_silent(warden: Warden) -> None:
    """The silent one may hold the only copy of a promise: the old primary comes back, from its own disk."""
    cluster = warden.postgres
    behind, holder = cluster.replicas
    await cluster.unfollow(behind)
    await promise(warden, 1)
    holder.freeze()
    old = cluster.primary
    failover = await warden.fail_over()
    assert (failover.new, cluster.primary) == (old.name, old)
    await promise(warden, 2)  # confirmed by the one that had been cut
    assert await promises(cluster) == {1, 2}
    holder.thaw()


async def test_a_zombie_promises_nothing(warden: Warden) -> None:
    """A primary that wakes up after it was replaced gets no confirmation, however long it lives."""
    cluster, zombie = warden.postgres, warden.postgres.primary
    warden.fence_after_seconds = 3.0
    async with zombie.connect(within_seconds=30) as before:
        transaction = before.transaction()
        await transaction.start()
        await before.execute("INSERT INTO promised VALUES (13)")
        zombie.freeze()
        await warden.fail_over()
        zombie.thaw()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await transaction.commit()  # ends with the zombie, unanswered
    await promise(warden, 1)
    await warden.settled()
    assert await promises(cluster) == {1}


async def test_a_lost_primary_comes_back_as_a_replica(warden: Warden) -> None:
    """Watched, killed, replaced, rewound: afterwards both replicas confirm again and have everything."""
    cluster, old = warden.postgres, warden.postgres.primary
    watching = asyncio.create_task(warden.run())
    try:
        await promise(warden, 1)
        await old.kill()
        await until(lambda: bool(warden.failovers))
        await promise(warden, 2)
        await warden.settled()
        assert old in cluster.replicas
        await until(lambda: _streaming(cluster, 2), within_seconds=30)
        await promise(warden, 3)
        await until(lambda: _has(old, {1, 2, 3}))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def promise(warden: Warden, number: int) -> None:
    """Write through the rw pooler, as the services do; returning means that it was confirmed."""
    password = warden.postgres.passwords["telemed_api"]
    address = f"postgresql://telemed_api:{password}@127.0.0.1:{warden.rw.port}/{roles.DATABASE}"

    async def is_promised() -> bool:
        try:
            connection = await asyncpg.connect(address, timeout=5, command_timeout=10, statement_cache_size=0)
            await connection.execute(f"INSERT INTO promised VALUES ({number}) ON CONFLICT DO NOTHING")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    await until(is_promised, within_seconds=30)


async def promises(cluster: Postgres) -> set[int]:
    """Look at the primary."""
    async with cluster.primary.connect() as connection:
        return {row["number"] for row in await connection.fetch("SELECT number FROM promised")}


async def _has(node: Node, numbers: set[int]) -> bool:
    async with node.connect() as connection:
        return numbers == {row["number"] for row in await connection.fetch("SELECT number FROM promised")}


async def _streaming(cluster: Postgres, count: int) -> bool:
    async with cluster.primary.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        return bool(await connection.fetchval(query) == count)
