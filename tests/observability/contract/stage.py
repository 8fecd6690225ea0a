"""The platform as it runs in production, small: a primary with replicas, a cache, four processes, a collector.

A fifth process has as little of everything as it may have, and no cache: it shows how the platform says no.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from tests.observability.contract.receiver import Receiver, receiving
from tests.servers import ALL_ROLES, TestServers, own_valkey, server_folder
from tests.support.databases import TestDatabase
from tests.support.platform import Platform, TelemedProcess, environment_of
from tests.support.settings import make_settings
from tests.twin.ports import Ports
from tests.twin.postgres import MONITOR, REPLICATOR, Postgres, start_cluster

from telemed.kernel.settings import Settings
from telemed.local import roles
from telemed.local.processes import Guard, free_port
from telemed.local.valkey import ValkeyServer
from telemed.migrations.runner import migrate

SERVICES = ("auth", "booking", "consultation")
PROCESSES = (*SERVICES, "worker", "short")
# From here on a request of the process that lacks everything is slow, and its trace kept.
SLOW_SECONDS = 0.5
# PostgreSQL logs every statement as if it were slow, with the bounds on what it may say of it that we ship.
SLOW_FROM = {"log_min_duration_statement": "0"}
# As PostgreSQL comes: what servers of `make run` are told in their own place must not hide that others are not.
_AS_IT_COMES = {
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "default",
}
_COMPOSE = Path(__file__).parents[3] / "services" / "compose" / "postgres" / "postgresql.conf"
_RELAXED = {"fsync": "off", "max_connections": "120", "synchronous_standby_names": ""}


@dataclass(frozen=True)
class Servers:
    """What the processes work on."""

    cluster: Postgres
    database: TestDatabase
    valkey: ValkeyServer
    collector: Receiver
    settings: Settings


@dataclass(frozen=True)
class Stage:
    """Servers and processes. *short* is the process that lacks everything."""

    servers: Servers
    platform: Platform
    short: Platform

    @property
    def processes(self) -> dict[str, TelemedProcess]:
        """Give the processes by the names under which they are scraped."""
        named = {process.name: process for process in self.platform.processes}
        return named | {"short": self.short.processes[0]}


@contextmanager
def servers_running(ports: Ports) -> Iterator[Servers]:
    """Lend the servers, migrated."""
    passwords = dict.fromkeys((*ALL_ROLES, REPLICATOR, MONITOR), "not-a-secret")
    with (
        server_folder("telemed-contract-") as (folder, guard),
        own_valkey() as valkey,
        receiving() as collector,
    ):
        own = _RELAXED | _AS_IT_COMES | what_may_be_logged() | SLOW_FROM
        unguarded = {"synchronous_standby_names": ""}
        cluster = asyncio.run(start_cluster(folder, guard, ports, passwords, unguarded, own))
        migrate(cluster.primary.dsn(roles.OWNER))
        assert cluster.primary.port is not None
        known = dict(cluster.passwords)
        where = TestServers("127.0.0.1", cluster.primary.port, known["superuser"], known, valkey.url)
        database = TestDatabase(where, roles.DATABASE)
        replicas = [SecretStr(node.dsn("telemed_api")) for node in cluster.replicas]
        settings = make_settings(database, valkey.url, replica_database_urls=replicas)
        yield Servers(cluster, database, valkey, collector, settings)


def what_may_be_logged() -> dict[str, str]:
    """Read what the compose file's servers may put into their log, which is what every server of ours may."""
    lines = (line.partition("=") for line in _COMPOSE.read_text().splitlines() if line.startswith("log_"))
    settings = {name.strip(): value.strip().strip("'") for name, _, value in lines}
    return {name: value for name, value in settings.items() if name not in {"log_line_prefix", "log_timezone"}}


@asynccontextmanager
async def staged(servers: Servers, folder: Path, targets: Mapping[str, int]) -> AsyncIterator[Stage]:
    """Start the processes: everything is traced and logged as talkatively as settings allow.

    *targets* has the port at which each is to show its metrics.
    """
    guard = Guard()
    replicas = ",".join(node.dsn("telemed_api") for node in servers.cluster.replicas)
    shared = environment_of(servers.settings) | {
        "REPLICA_DATABASE_URLS": replicas,
        "OTEL_EXPORTER_OTLP_ENDPOINT": servers.collector.url,
        "TRACE_DIRECTORY": str(folder / "traces"),
        "TRACE_SAMPLE_RATIO": "1",
        "LOG_LEVEL": "DEBUG",
        "REVISION": "0123abc",
        "SEARCH_FRESH_SECONDS": "0.1",  # so that some page is stale
    }
    platform = Platform(shared, _made(folder / "processes"), guard)
    short = Platform(shared | _short_of_everything(), _made(folder / "short"), guard)
    try:
        await asyncio.gather(
            *(platform.serve(name, MANAGEMENT_PORT=str(targets[name])) for name in SERVICES),
            platform.work(MANAGEMENT_PORT=str(targets["worker"])),
            short.serve("all", MANAGEMENT_PORT=str(targets["short"])),
        )
        yield Stage(servers, platform, short)
    finally:
        await asyncio.gather(platform.close(), short.close())
        await asyncio.to_thread(guard.close)


def _short_of_everything() -> dict[str, str]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "REDIS_TIMEOUT_SECONDS": "0.05",
        "ADMISSION_LIMIT": "6",
        "DATABASE_POOL_SIZE": "1",
        "DATABASE_POOL_TIMEOUT_SECONDS": "0.2",
        "REPLICA_DATABASE_URLS": "",
        "TRACE_SAMPLE_RATIO": "0",
        "TRACE_SLOW_SECONDS": str(SLOW_SECONDS),
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
