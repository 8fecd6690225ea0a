"""How a twin is put together: what is started in which order, and what the application is told."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.twin import postgres
from tests.twin.gateway import Gateway
from tests.twin.member import Member
from tests.twin.poolers import Pooler, ro_targets, rw_targets, verifiers_of
from tests.twin.ports import Ports
from tests.twin.postgres import MONITOR, REPLICATOR
from tests.twin.redis import start_redis
from tests.twin.services import service_members
from tests.twin.supervisor import Supervisor
from tests.twin.warden import Warden

from telemed.local import roles
from telemed.local.account import server_account
from telemed.local.processes import Guard
from telemed.migrations.runner import migrate

if TYPE_CHECKING:
    from tests.twin.twin import Plan, Twin

LOGINS = (roles.OWNER, *roles.LOGINS)
# Small on purpose: eight processes with up to three pools each share 120 connections of one server, through the pooler.
POOL_SIZE = 8


async def assemble(kind: "type[Twin]", plan: "Plan", folder: Path, guard: Guard, stack: AsyncExitStack) -> "Twin":
    """Start everything of a twin in *folder*; *stack* ends it again."""
    account = server_account()
    ports = Ports()
    stack.callback(ports.close)
    passwords = {name: secrets.token_urlsafe(18) for name in (*LOGINS, REPLICATOR, MONITOR)}
    cluster, redis = await asyncio.gather(
        postgres.start_cluster(folder, guard, ports, passwords, plan.guards, plan.postgres),
        start_redis(folder / "redis", guard, ports),
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
            port=ports.take(1)[0],
            targets=targets,
            verifiers=verifiers,
        )
        for kind_, targets in (("rw", rw_targets(cluster)), ("ro", ro_targets(cluster.replicas)))
    )
    twin.environment = _environment(twin, passwords) | dict(plan.environment)
    logs = folder / "application"
    logs.mkdir(mode=0o700)
    twin.services = service_members(logs, guard, ports, twin.environment)
    in_front = [service for service in twin.services if service.kind == "service"]
    twin.gateway = Gateway(folder / "gateway", guard, account, ports, in_front, plan.gateway)
    everybody = (*cluster.nodes, twin.rw, twin.ro, *redis.members, *twin.services, twin.gateway)
    twin.members = {member.name: member for member in everybody}
    twin.warden = Warden(cluster, twin.rw, twin.ro, plan.fence_after_seconds)
    stack.push_async_callback(_end, twin)
    await asyncio.gather(twin.rw.start(), twin.ro.start())
    await asyncio.gather(*(member.start() for member in (*twin.services, twin.gateway)))
    await twin.gateway.sees(*(service.name for service in in_front))
    _watch(twin, stack)
    return twin


def _watch(twin: "Twin", stack: AsyncExitStack) -> None:
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


def _is_supervised(twin: "Twin", member: Member) -> bool:
    return member is not twin.primary and member not in twin.warden.in_hand


async def _end(twin: "Twin") -> None:
    """End everything: the application and what is in front of it first, then what it stores in."""
    first = [member for member in twin.members.values() if member.kind in {"gateway", "service", "worker"}]
    # At once and without draining: nobody is there any more to be served.
    await asyncio.gather(*(member.kill() for member in first))
    rest = [member for member in twin.members.values() if member not in first]
    await asyncio.gather(*(member.stop(10) for member in (*first, *rest)))


def _environment(twin: "Twin", passwords: Mapping[str, str]) -> dict[str, str]:
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
    }
