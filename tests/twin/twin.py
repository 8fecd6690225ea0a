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
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
from tests.servers import server_folder
from tests.support.waiting import until
from tests.twin.assembly import assemble
from tests.twin.gateway import Gateway
from tests.twin.member import Member
from tests.twin.poolers import Pooler
from tests.twin.postgres import Node, Postgres
from tests.twin.redis import Redis
from tests.twin.services import SERVICES, TelemedMember, application_environment
from tests.twin.warden import Failover, Warden

from telemed.kernel.settings import Settings
from telemed.local import roles
from telemed.local.processes import Guard


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
                yield await assemble(cls, plan or Plan(), folder, guard, stack)

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

    async def recovered(self, name: str, within_seconds: float = 60.0) -> Member:
        """Wait until whoever is called so runs and is ready, after something happened to it; gives who that is."""

        async def is_well() -> bool:
            member = self.process(name)
            return member.is_running and not member.frozen and await member.is_ready()

        await until(is_well, within_seconds=within_seconds, pause_seconds=0.1)
        member = self.process(name)
        if member.kind == "service":
            await self.gateway.sees(name)
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
