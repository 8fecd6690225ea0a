"""What one process holds: pools, cache, clock, keys, metrics. Built once by the lifespan, handed down, never global."""

import platform
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from telemed.kernel.cache.addresses import parse_address
from telemed.kernel.cache.client import Cache
from telemed.kernel.clock import Clock, SystemClock
from telemed.kernel.database import ConstraintProblems, Database
from telemed.kernel.health import Health
from telemed.kernel.identity import TokenVerifier
from telemed.kernel.refusals import Refusals
from telemed.kernel.replication.reads import Reads
from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.build import version
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.tracing import Tracing
from telemed.kernel.trail import Trail

PartT = TypeVar("PartT")


@dataclass
class Resources:
    """What operations and routes may need. *parts* holds what single services add, by the type of the thing."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    health: Health
    verifier: TokenVerifier
    db: Database
    refusals: Refusals
    trail: Trail
    auditor_db: Database
    reads: Reads
    cache: Cache
    tracing: Tracing
    parts: dict[type, Any] = field(default_factory=dict)  # keyed by type, so the value's type is known to the caller

    def part(self, kind: type[PartT]) -> PartT:
        """Give the thing of this type that a service's lifespan has added."""
        part: PartT = self.parts[kind]
        return part


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    constraint_problems: ConstraintProblems,
    clock: Clock | None = None,
    database: str | None = None,
    watched: bool = False,
    service: str = "command",
) -> AsyncIterator[Resources]:
    """Build the resources of one process and close them at the end. Opens no connection yet: a start needs no database.

    *database* is the address to use instead of the services' one (the worker has a role of its own). *watched*
    looks after the servers for as long as the context lasts: for processes that stay, not for commands. *service* is
    the process' name in traces.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    metrics.build.labels(version(), settings.revision, platform.python_version()).set(1)
    tracing = Tracing(settings, metrics, service=service)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        db = Database(
            database or settings.services_database,
            settings=settings,
            metrics=metrics,
            constraint_problems=constraint_problems,
            pool="services" if database is None else "worker",
        )
        stack.push_async_callback(db.close)
        reads = Reads(db, settings=settings, clock=clock, metrics=metrics)
        stack.push_async_callback(reads.replicas.close)
        auditor_db = Database(settings.auditor_database, settings=settings, metrics=metrics, pool="auditor")
        stack.push_async_callback(auditor_db.close)
        cache = Cache(
            parse_address(settings.redis_address),
            timeout_seconds=settings.redis_timeout_seconds,
            clock=clock,
            metrics=metrics,
        )
        stack.push_async_callback(cache.close)
        health = Health(metrics)
        if watched:
            for watch in (reads.watched(), cache.watched(), health.watch_loop()):
                await stack.enter_async_context(watch)
        yield Resources(
            settings=settings,
            clock=clock,
            metrics=metrics,
            health=health,
            verifier=TokenVerifier(settings),
            db=db,
            refusals=Refusals(db),
            trail=Trail(db),
            auditor_db=auditor_db,
            reads=reads,
            cache=cache,
            tracing=tracing,
        )
