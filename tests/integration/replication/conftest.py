"""A primary with two replicas, which tests hold back, freeze and lose; the application reads from both."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from tests.servers import ALL_ROLES, TestServers, server_folder
from tests.support.databases import TestDatabase
from tests.support.settings import make_settings
from tests.support.waiting import until
from tests.twin.ports import Ports
from tests.twin.postgres import MONITOR, REPLICATOR, Node, Postgres, start_cluster

from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings
from telemed.local import roles
from telemed.migrations.runner import migrate


@dataclasses.dataclass(frozen=True)
class Replication:
    """The servers, and what a test does to them."""

    cluster: Postgres

    @property
    def primary(self) -> Node:
        return self.cluster.primary

    @property
    def replicas(self) -> list[Node]:
        return self.cluster.replicas

    async def hold_back(self) -> None:
        """Let the replicas show nothing new from now on."""
        await asyncio.gather(*(replica.pause_replay() for replica in self.replicas))

    async def caught_up(self) -> None:
        """Wait until both replicas show everything."""
        async with self.primary.connect() as connection:
            wanted = await connection.fetchval("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
        await until(lambda: self._have(wanted), within_seconds=20)

    async def _have(self, wanted: int) -> bool:
        for replica in self.replicas:
            async with replica.connect() as connection:
                if await connection.fetchval("SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint") < wanted:
                    return False
        return True

    async def restore(self) -> None:
        """Undo whatever a test did."""
        for node in self.cluster.nodes:
            node.thaw()
            if not node.is_running:
                await node.start()
            await node.ready()
        for replica in self.replicas:
            await replica.delay_replay(0)
            await replica.resume_replay()
        await self.caught_up()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    """The servers of this worker of xdist, migrated. No commit waits for a replica: that is the twin's subject."""
    passwords = dict.fromkeys((*ALL_ROLES, REPLICATOR, MONITOR), "not-a-secret")
    with server_folder("telemed-replication-") as (folder, guard):
        relaxed = {"fsync": "off", "max_connections": "100"}
        made = asyncio.run(start_cluster(folder, guard, Ports(), passwords, {"synchronous_standby_names": ""}, relaxed))
        migrate(made.primary.dsn(roles.OWNER))
        yield made


@pytest.fixture
async def replication(cluster: Postgres) -> AsyncIterator[Replication]:
    made = Replication(cluster)
    await made.caught_up()
    yield made
    await made.restore()


@pytest.fixture
def database(replication: Replication, redis_url: str) -> TestDatabase:
    passwords, port = dict(replication.cluster.passwords), replication.primary.port
    assert port is not None
    servers = TestServers("127.0.0.1", port, passwords["superuser"], passwords, redis_url)
    return TestDatabase(servers, roles.DATABASE)


@pytest.fixture
def more_settings() -> dict[str, object]:
    """Settings in which a test differs from the others."""
    return {}


@pytest.fixture
def settings(
    database: TestDatabase, redis_url: str, replication: Replication, more_settings: dict[str, object]
) -> Settings:
    replicas = [SecretStr(node.dsn("telemed_api")) for node in replication.replicas]
    return make_settings(database, redis_url, **({"replica_database_urls": replicas} | more_settings))


@dataclasses.dataclass
class Served:
    """Counts who served the reads since it was made."""

    resources: Resources
    before: dict[tuple[str, str], float] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.before = self._all()

    def by(self, served_by: str) -> dict[str, int]:
        """Give how many reads this one has served, by reason."""
        now = self._all()
        return {
            reason: int(now[who, reason] - self.before.get((who, reason), 0))
            for who, reason in now
            if who == served_by and now[who, reason] > self.before.get((who, reason), 0)
        }

    def _all(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["served_by"], sample.labels["reason"]): sample.value
            for metric in self.resources.metrics.reads.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }


@pytest.fixture
async def served(resources: Resources, replication: Replication) -> Served:
    """Counters of this application, which has seen where its servers stand."""
    # The first look-out is a moment after the start; until then nobody knows how old a replica's state is.
    await until(lambda: resources.reads.knows_primary)
    return Served(resources)
