"""Runs an application under uvicorn: one process, its probes, and an orderly end."""

import asyncio
import contextlib
import errno
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from telemed.kernel.http.app import at_the_edge, build_api, build_platform_app
from telemed.kernel.http.drain import DrainingServer
from telemed.kernel.http.express import Express
from telemed.kernel.http.protocol import BoundedHttpProtocol
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.kernel.telemetry.logs import configure_logs, get_logger, log_lost_errors

log = get_logger("server")

_GC_EVERY = 10_000  # objects that were made and not freed, of those that may be part of a cycle


@asynccontextmanager
async def opened(services: Sequence[Service], resources: Resources) -> AsyncIterator[Resources]:
    """Open the parts that these services add to the resources."""
    async with AsyncExitStack() as stack:
        for service in services:
            if service.open_parts is not None:
                resources.parts.update(await stack.enter_async_context(service.open_parts(resources)))
        yield resources


def constraint_problems(services: Sequence[Service]) -> dict[str, type]:
    """Gather what the services raise in place of violated constraints."""
    return {name: problem for service in services for name, problem in service.constraint_problems.items()}


async def serve(name: str, services: Sequence[Service], settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; then stop being ready, drain, finish what runs, and return the exit code.

    The management port answers to the end. Takes DRAIN_SECONDS, SHUTDOWN_GRACE_SECONDS and CUT_SHORT_WITHIN_SECONDS
    (drain.py) at most.

    Raises:
        SettingsProblem: the port is in use.
    """
    configure_logs(level=settings.log_level, service=name)
    log_lost_errors(asyncio.get_running_loop())
    async with (
        open_resources(
            settings, constraint_problems=constraint_problems(services), watched=True, service=name
        ) as resources,
        opened(services, resources),
    ):
        api = build_api(services, resources, with_platform_routes=settings.management_port is None)
        listener = _bind(settings.host, settings.port)
        async with probes_served(resources):
            log.info("server.started", host=settings.host, port=listener.getsockname()[1])
            edge = at_the_edge(api, services, resources)
            _settle_memory()
            await _run(_server(edge, settings, express=edge.express), listener, resources)
    log.info("server.stopped")
    return 0


@asynccontextmanager
async def probes_served(resources: Resources) -> AsyncIterator[None]:
    """Answer /livez, /readyz and /metrics on the management port, if there is one, for as long as the context lasts.

    Raises:
        SettingsProblem: the port is in use.
    """
    if resources.settings.management_port is None:
        yield
        return
    server = _server(build_platform_app(resources), resources.settings)
    listener = _bind(resources.settings.host, resources.settings.management_port)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def _run(server: DrainingServer, listener: socket.socket, resources: Resources) -> None:
    """Serve until a signal; after SIGTERM, go on serving for the drain, as nobody has looked at our readiness yet."""
    drains, stopped = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, drains.set)  # the second one finds it set
    loop.add_signal_handler(signal.SIGINT, stopped.set)  # also in the middle of a drain: a person is waiting
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await first_of(running, drains.wait(), stopped.wait())
    resources.health.is_draining = True
    if not stopped.is_set() and not running.done():
        log.info("server.draining", seconds=resources.settings.drain_seconds)
        server.lingers_seconds = resources.settings.drain_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(resources.settings.drain_seconds):
                await first_of(running, stopped.wait())
    server.should_exit = True
    await running


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait until one of them has ended; coroutines among them are cancelled then, tasks are left alone."""
    begun = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(begun, waits, strict=True):
            if task is not wait:
                task.cancel()


def _server(app: ASGIApp, settings: Settings, *, express: Express | None = None) -> DrainingServer:
    return DrainingServer(
        uvicorn.Config(
            app,
            http=partial(BoundedHttpProtocol, express=express),  # type: ignore[arg-type]  # uvicorn only ever calls it
            # There are none here; what became one would leave the protocol above, its bounds and its drain.
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
        )
    )


def _settle_memory() -> None:
    """Keep the collector from walking again and again through what lives as long as the process.

    Requests make few cycles, and many objects: with the default of 700 the collector took a twentieth of a booking.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_EVERY)


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsProblem(f"Port {port} on {host} is in use; set PORT to a free one.") from error
        raise SettingsProblem(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
    listener.set_inheritable(False)
    return listener
