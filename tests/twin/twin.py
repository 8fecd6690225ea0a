"""A twin of the cluster, from real processes on 127.0.0.1, which a drill may break as it likes.

    async with Twin.start(Plan(is_supervised=True)) as twin:
        async with twin.client() as client:             # through the gateway, TLS checked
            await client.get("/booking/slots/search")
        await twin.kill("primary")                      # the warden promotes a replica
        await twin.process("booking-1").kill()          # the supervisor starts it again
        async with twin.connect(twin.replicas[0]) as connection:
            ...

Names: `pg-0` … `pg-2` (nodes of PostgreSQL, for life), `primary`, `replica-1`, `replica-2` (whoever is that now),
`pooler-rw`, `pooler-ro`, `redis-0` … `redis-5`, `auth-1` … `consultation-2`, `worker-1`, `worker-2`, `gateway`.
"""

import asyncio
import contextlib
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
from tests.servers import server_folder
from tests.twin import postgres
from tests.twin.gateway import Gateway
from tests.twin.member import Member
from tests.twin.poolers import Pooler, ro_targets, rw_targets, verifiers_of
from tests.twin.postgres import MONITOR, REPLICATOR, Node, Postgres
from tests.twin.redis import Redis, start_redis
from tests.twin.services import DRAIN_SECONDS, SERVICES, TelemedMember, application_environment, service_members
from tests.twin.supervisor import Supervisor
from tests.twin.warden import Failover, Warden

from telemed.kernel.settings import Settings
from telemed.local import roles
from telemed.local.account import server_account
from telemed.local.processes import Guard
from telemed.migrations.runner import migrate

LOGINS = (roles.OWNER, *roles.LOGINS)
# Small on purpose: eight processes with up to three pools each share 120 connections of one server, through the pooler.
POOL_SIZE = 8


@dataclass(frozen=True)
class Plan:
    """What is special about a twin; the defaults are the production's shape."""

    # Whether what ended is started again after two seconds, as Kubernetes does. The warden acts in either case.
    is_supervised: bool = True
    # Added to, or in place of, the environment of every process of the application.
    environment: Mapping[str, str] = field(default_factory=dict)
    # In place of values of `postgres.GUARDS`: {"synchronous_standby_names": ""} takes the quorum away.
    guards: Mapping[str, str] = field(default_factory=dict)
    # In place of values of `postgres.SETTINGS`.
    postgres: Mapping[str, str] = field(default_factory=dict)
    # In place of the repository's haproxy.cfg.
    gateway: Path | None = None
    # How long a primary that was replaced stays alive; a drill of zombies needs some.
    fence_after_seconds: float = 0.0


class Twin:
    """A running twin. `members` has every process by its name."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        guard: Guard,
        cluster: Postgres,
        redis: Redis,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.guard = guard
        self.postgres = cluster
        self.redis = redis
        self.members: dict[str, Member] = {}
        # What every process of the application has in its environment, but for its own ports.
        self.environment: dict[str, str] = {}

    rw: Pooler
    ro: Pooler
    gateway: Gateway
    warden: Warden
    services: list[TelemedMember]

    @classmethod
    @asynccontextmanager
    async def start(cls, plan: Plan | None = None) -> AsyncIterator["Twin"]:
        """Start everything (about ten seconds) and lend it; nothing of it is left afterwards, frozen or not."""
        with server_folder("telemed-twin-") as (folder, guard):
            async with AsyncExitStack() as stack:
                yield await _assemble(cls, plan or Plan(), folder, guard, stack)

    @property
    def gateway_url(self) -> str:
        """Where clients come in: https://localhost:port."""
        return self.gateway.url

    @property
    def ca_file(self) -> Path:
        """The authority that signed the gateway's certificate, for `curl --cacert` and `ssl`."""
        return self.gateway.ca_file

    @property
    def settings(self) -> Settings:
        """The settings as a process of the application reads them."""
        values = {name.lower(): value for name, value in self.environment.items()}
        return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # pydantic reads the texts

    @property
    def primary(self) -> Node:
        """The node that takes writes now."""
        return self.postgres.primary

    @property
    def replicas(self) -> list[Node]:
        """The other two, by place: the ro pooler's alias `telemed_replica_1` leads to the first."""
        return list(self.postgres.replicas)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All three."""
        return self.postgres.nodes

    @property
    def failovers(self) -> list[Failover]:
        """What the warden has done so far."""
        return self.warden.failovers

    def process(self, name: str) -> Member:
        """Find a process by its name; `primary`, `replica-1`, `replica-2` are whoever is that now.

        Raises:
            KeyError: nobody is called so.
        """
        return self.places.get(name) or self.members[name]

    @property
    def places(self) -> dict[str, Node]:
        """Name who is what among the nodes."""
        return {"primary": self.primary} | {
            f"replica-{place}": node for place, node in enumerate(self.replicas, start=1)
        }

    async def kill(self, name: str) -> Member:
        """SIGKILL it with its children; gives who it was. Whoever is supervised comes back after two seconds."""
        member = self.process(name)
        await member.kill()
        return member

    def freeze(self, name: str) -> Member:
        """SIGSTOP it with its children; gives who it was, for `thaw` on the object: roles may change meanwhile."""
        member = self.process(name)
        member.freeze()
        return member

    def thaw(self, name: str) -> Member:
        """SIGCONT it with its children."""
        member = self.process(name)
        member.thaw()
        return member

    async def stop(self, name: str) -> Member:
        """End it in order and leave it ended until `restart`. A stopped primary is replaced all the same."""
        member = self.process(name)
        await member.stop()
        return member

    async def restart(self, name: str) -> Member:
        """End it in order if it runs, start it at the same ports, wait until it is ready and the gateway sees it."""
        member = self.process(name)
        # Without the lock the warden would take the primary's restart for its death.
        async with self.warden.lock if isinstance(member, Node) else contextlib.nullcontext():
            await member.restart()
        if member.kind == "service":
            await self.gateway.sees(member.name)
        return member

    async def rolling_restart(self, *services: str) -> None:
        """Restart both processes of each service, one after the other, as a rolling update does.

        All services if none is named; those of different services at the same time.
        """
        names = services or (*SERVICES, "worker")
        for copy in (1, 2):
            await asyncio.gather(*(self.restart(f"{name}-{copy}") for name in names))

    async def fail_over(self) -> Failover:
        """Replace the primary now; returns when the rw pooler leads to the new one."""
        return await self.warden.fail_over()

    async def kill_redis(self) -> None:
        """SIGKILL all six nodes; none comes back by itself."""
        for member in self.redis.members:
            member.is_wanted = False
        await asyncio.gather(*(member.kill() for member in self.redis.members))

    async def rebuild_redis(self) -> None:
        """Form a new, empty Redis cluster at other addresses; the seeds' addresses stay."""
        await self.redis.rebuild()
        for member in self.redis.members:
            member.is_wanted = True

    @asynccontextmanager
    async def connect(self, node: Node | None = None, role: str = roles.OWNER) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection straight to a node, the primary if none is given; `superuser` is a role as well."""
        async with (node or self.primary).connect(role, within_seconds=30) as connection:
            yield connection

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `telemed …` with this twin's environment; give its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "telemed.cli", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=application_environment(self.environment),
            cwd=self.folder,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    def client(self, **options: object) -> httpx.AsyncClient:
        """Give a client of the gateway that checks its certificate; *options* are those of httpx."""
        defaults: dict[str, object] = {"base_url": self.gateway_url, "verify": self.tls(), "timeout": 35}
        return httpx.AsyncClient(**(defaults | options))  # type: ignore[arg-type]  # httpx checks them

    def tls(self) -> ssl.SSLContext:
        """Give a context that trusts this twin's authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def logs(self) -> dict[str, Path]:
        """Give the log of every process that was started."""
        return {name: member.log for name, member in self.members.items() if member.running is not None}


async def _assemble(kind: type[Twin], plan: Plan, folder: Path, guard: Guard, stack: AsyncExitStack) -> Twin:
    account = server_account()
    passwords = {name: secrets.token_urlsafe(18) for name in (*LOGINS, REPLICATOR, MONITOR)}
    cluster, redis = await asyncio.gather(
        postgres.start_cluster(folder, guard, passwords, plan.guards, plan.postgres),
        start_redis(folder / "redis", guard),
    )
    stack.push_async_callback(redis.close)
    twin = kind(plan, folder, guard, cluster, redis)
    await asyncio.to_thread(migrate, cluster.primary.dsn(roles.OWNER))
    verifiers = await verifiers_of(cluster.primary, (*roles.LOGINS, MONITOR))
    twin.rw, twin.ro = (
        Pooler(
            f"pooler-{kind_}",
            f"pgbouncer-{kind_}.ini",
            folder / f"pooler-{kind_}",
            guard,
            account,
            targets=targets,
            verifiers=verifiers,
        )
        for kind_, targets in (("rw", rw_targets(cluster)), ("ro", ro_targets(cluster.replicas)))
    )
    twin.environment = _environment(twin, passwords) | dict(plan.environment)
    logs = folder / "application"
    logs.mkdir(mode=0o700)
    twin.services = service_members(logs, guard, twin.environment)
    in_front = [service for service in twin.services if service.kind == "service"]
    twin.gateway = Gateway(folder / "gateway", guard, account, in_front, plan.gateway)
    everybody = (*cluster.nodes, twin.rw, twin.ro, *redis.members, *twin.services, twin.gateway)
    twin.members = {member.name: member for member in everybody}
    twin.warden = Warden(cluster, twin.rw, twin.ro, plan.fence_after_seconds)
    stack.push_async_callback(_end, twin)
    await asyncio.gather(twin.rw.start(), twin.ro.start())
    await asyncio.gather(*(member.start() for member in (*twin.services, twin.gateway)))
    await twin.gateway.sees(*(service.name for service in in_front))
    _watch(twin, stack)
    return twin


def _watch(twin: Twin, stack: AsyncExitStack) -> None:
    watching = [twin.warden.run()]
    if twin.plan.is_supervised:
        supervisor = Supervisor(twin.members.values(), lambda member: _is_supervised(twin, member))
        watching.append(supervisor.run())
    tasks = [asyncio.create_task(one) for one in watching]

    async def stop_watching() -> None:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await twin.warden.close()
        for end in ends:  # a warden that fell over would make every drill of failovers meaningless
            assert isinstance(end, asyncio.CancelledError), f"the warden or the supervisor broke: {end!r}"

    stack.push_async_callback(stop_watching)


def _is_supervised(twin: Twin, member: Member) -> bool:
    return member is not twin.primary and member not in twin.warden.in_hand


async def _end(twin: Twin) -> None:
    """End everything: the application and what is in front of it first, then what it stores in."""
    first = [member for member in twin.members.values() if member.kind in {"gateway", "service", "worker"}]
    # At once and without draining: nobody is there any more to be served.
    await asyncio.gather(*(member.kill() for member in first))
    rest = [member for member in twin.members.values() if member not in first]
    await asyncio.gather(*(member.stop(10) for member in (*first, *rest)))


def _environment(twin: Twin, passwords: Mapping[str, str]) -> dict[str, str]:
    def through(pooler: Pooler, role: str, database: str = roles.DATABASE) -> str:
        return f"postgresql://{role}:{passwords[role]}@127.0.0.1:{pooler.port}/{database}"

    replicas = [through(twin.ro, "telemed_api", alias) for alias in twin.ro.targets]
    return {
        "DATABASE_URL": through(twin.rw, "telemed_api"),
        "AUDITOR_DATABASE_URL": through(twin.rw, "telemed_audit_api"),
        "WORKER_DATABASE_URL": through(twin.rw, "telemed_jobs"),
        "REPLICA_DATABASE_URLS": ",".join(replicas),
        # Direct, for migrations. It stays the first primary's: nobody migrates during a drill.
        "OWNER_DATABASE_URL": twin.primary.dsn(roles.OWNER),
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "REDIS_URL": twin.redis.url,
        # One secret for all, as `tests.support.people` signs tokens with it.
        "JWT_SECRET": secrets.token_urlsafe(48),
        "PEPPER": secrets.token_urlsafe(48),
        "TRUSTED_PROXIES": "127.0.0.1",
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
