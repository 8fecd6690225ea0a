"""Runs an application under uvicorn: one process, its probes, and an orderly end."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from telemed.kernel.http.app import at_the_edge, build_api, build_platform_app
from telemed.kernel.http.protocol import BoundedHttpProtocol
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings, SettingsProblem
from telemed.kernel.telemetry.logs import configure_logs, get_logger, log_lost_errors

log = get_logger("server")


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
    """Serve until SIGTERM or SIGINT; then stop being ready, finish what runs, and return the exit code.

    Raises:
        SettingsProblem: the port is in use.
    """
    configure_logs(level=settings.log_level, service=name)
    log_lost_errors(asyncio.get_running_loop())
    async with (
        open_resources(settings, constraint_problems=constraint_problems(services)) as resources,
        opened(services, resources),
    ):
        api = build_api(services, resources, with_platform_routes=settings.management_port is None)
        servers = [_server(at_the_edge(api, services, resources), settings)]
        sockets = [_bind(settings.host, settings.port)]
        if settings.management_port is not None:
            servers.append(_server(build_platform_app(resources), settings))
            sockets.append(_bind(settings.host, settings.management_port))
        log.info("server.started", host=settings.host, port=sockets[0].getsockname()[1])
        await _run(servers, sockets, resources)
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


async def _run(servers: list["_Server"], sockets: list[socket.socket], resources: Resources) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    running = [
        asyncio.create_task(server.serve(sockets=[listener])) for server, listener in zip(servers, sockets, strict=True)
    ]
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({waiting, *running}, return_when=asyncio.FIRST_COMPLETED)
    resources.health.is_draining = True
    waiting.cancel()
    for server in servers:
        server.should_exit = True
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*running)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to us: two of them may share the process."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's generator, replaced by nothing
        yield


def _server(app: ASGIApp, settings: Settings) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


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
