"""How a process leaves: first out of sight, then out of work, and no connection is ever reset."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.support.clinic import Clinic
from tests.support.connections import Connection, is_refused
from tests.support.databases import TestDatabase
from tests.support.people import People
from tests.support.platform import Platform, TelemedProcess
from tests.support.stalls import BOOK, directory_locked, open_slot, slot_locked
from tests.support.waiting import until

from telemed.local.processes import free_port

JWKS = "/auth/jwks.json"


async def is_not_ready(process: TelemedProcess) -> bool:
    """Ask as a proxy does."""
    async with httpx.AsyncClient() as probe:
        return (await probe.get(f"http://127.0.0.1:{process.probes}/readyz")).status_code == 503


async def test_during_the_drain_everything_is_served_and_connections_end(
    platform_processes: Platform, connect: Callable[[int | None], Awaitable[Connection]]
) -> None:
    """Not ready at once, on either port; old and new connections get an answer that says it is their last."""
    management = free_port()
    (process,) = await platform_processes.serve("auth", DRAIN_SECONDS="30", MANAGEMENT_PORT=str(management))
    kept = await connect(process.port)
    assert not (await kept.get(JWKS)).closes
    process.signal(signal.SIGTERM)
    await until(lambda: is_not_ready(process), within_seconds=5.0)
    process.signal(signal.SIGTERM)  # a second one changes nothing
    for connection in (kept, await connect(process.port)):
        reply = await connection.get(JWKS)
        assert (reply.status, reply.closes) == (200, True)
        assert await connection.is_ended()
    assert not process.running.has_ended()
    process.signal(signal.SIGINT)  # a person does not want to wait
    assert await process.ended(15.0) == 0
    assert not process.complaints()


async def test_sigint_alone_ends_without_a_drain(platform_processes: Platform) -> None:
    """Ctrl-C in a terminal: nobody stands before the process who asks for its readiness."""
    (process,) = await platform_processes.serve("auth", DRAIN_SECONDS="60")
    assert await platform_processes.stop(process, signal.SIGINT) == 0


async def test_readiness_on_the_services_own_port_ends_as_well(platform_processes: Platform) -> None:
    """Where there is no other port."""
    (process,) = await platform_processes.serve("auth", DRAIN_SECONDS="30")
    process.signal(signal.SIGTERM)
    await until(lambda: is_not_ready(process), within_seconds=5.0)
    assert await platform_processes.stop(process, signal.SIGINT) == 0


async def test_the_management_port_answers_to_the_end(
    platform_processes: Platform,
    live_people: People,
    database: TestDatabase,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """While the last requests finish, the process is alive, not ready, and can be measured."""
    (process,) = await platform_processes.serve("all", MANAGEMENT_PORT=str(free_port()))
    async with directory_locked(database.owner):
        last = asyncio.create_task(live_people.nobody.get("/booking/doctors"))

        async def holds() -> bool:
            return await waiting() == 1

        await until(holds)
        process.signal(signal.SIGTERM)
        await until(lambda: is_refused(process.port))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.probes}") as probe:
            assert (await probe.get("/livez")).status_code == 200
            assert (await probe.get("/readyz")).status_code == 503
            assert 'in_flight{priority="browsing"} 1.0' in (await probe.get("/metrics")).text
    reply = await last
    assert (reply.status_code, reply.headers["Connection"]) == (200, "close")
    assert await process.ended(15.0) == 0
    assert not process.complaints()


async def test_a_connection_that_was_used_lately_is_not_closed_at_once(
    platform_processes: Platform, connect: Callable[[int | None], Awaitable[Connection]]
) -> None:
    """Somebody may be sending on it: it is answered after the last accepted one, and told to end."""
    (process,) = await platform_processes.serve("auth", DRAIN_SECONDS="3")
    process.signal(signal.SIGTERM)
    await until(lambda: is_not_ready(process), within_seconds=5.0)
    await asyncio.sleep(1.5)  # so that it is younger than the drain is long when that ends
    late = await connect(process.port)
    await until(lambda: is_refused(process.port), pause_seconds=0.05)
    reply = await late.get(JWKS)
    assert (reply.status, reply.closes) == (200, True)
    assert await late.is_ended()
    assert await process.ended(15.0) == 0


async def test_a_quiet_connection_does_not_hold_up_the_end(
    platform_processes: Platform, connect: Callable[[int | None], Awaitable[Connection]]
) -> None:
    """After the drain it is closed in order, long before the grace is over."""
    (process,) = await platform_processes.serve("auth", DRAIN_SECONDS="0.2", SHUTDOWN_GRACE_SECONDS="60")
    quiet = await connect(process.port)
    assert (await quiet.get(JWKS)).status == 200
    process.signal(signal.SIGTERM)
    assert await quiet.is_ended()
    assert await process.ended(15.0) == 0


async def test_what_does_not_end_is_cut_short_with_an_answer(
    platform_processes: Platform,
    live_people: People,
    live_clinic: Clinic,
    database: TestDatabase,
    waiting: Callable[[], Awaitable[int]],
) -> None:
    """At the end of the grace: 503, rolled back, exit code 0, and no error in the log."""
    (process,) = await platform_processes.serve("all", SHUTDOWN_GRACE_SECONDS="1")
    patient, slot_id = await live_people.patient(), await open_slot(live_clinic)
    async with slot_locked(database.owner, slot_id):
        booking = asyncio.create_task(patient.post(BOOK, {"slot_id": slot_id}))

        async def holds() -> bool:
            return await waiting() == 1

        await until(holds)
        process.signal(signal.SIGTERM)
        reply = await booking
        assert (reply.status_code, reply.json()["type"]) == (503, "unavailable")
        assert await process.ended(15.0) == 0
    assert process.logged("requests.cut_short")
    assert not process.complaints()


class Proxy:
    """What stands before the processes: sends to those that are ready, on connections that it keeps."""

    def __init__(self, processes: list[TelemedProcess]) -> None:
        self.ports = [process.port for process in processes]
        self.ready = set(self.ports)
        self.served: dict[int | None, int] = dict.fromkeys(self.ports, 0)
        self.failures: list[str] = []

    async def watch(self) -> None:
        """Ask every process again and again whether it is ready."""
        async with httpx.AsyncClient(timeout=2) as probe:
            while True:
                for port in self.ports:
                    try:
                        is_ready = (await probe.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                    except httpx.TransportError:
                        is_ready = False
                    (self.ready.add if is_ready else self.ready.discard)(port)
                await asyncio.sleep(0.1)

    async def keep_asking(self, lane: int, stop: asyncio.Event) -> None:
        """Send one request after the other, each lane on its own connections, in turn to whoever is ready."""
        kept: dict[int | None, Connection] = {}
        turn = lane
        while not stop.is_set():
            turn += 1
            ready = sorted(port for port in self.ready if port is not None)
            port = ready[turn % len(ready)]
            try:
                connection = kept.pop(port, None)
                if connection is not None and connection.has_ended:  # while it was not in use, as proxies notice too
                    await connection.closed()
                    connection = None
                connection = connection or await Connection.to(port)
                reply = await connection.get(JWKS)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(f"{type(error).__name__} at {port}")
                continue
            if reply.status != 200:
                self.failures.append(f"{reply.status} from {port}")
            self.served[port] += 1
            if reply.closes:
                await connection.closed()
            else:
                kept[port] = connection
            await asyncio.sleep(0.01)
        for connection in kept.values():
            await connection.closed()


@pytest.mark.timeout(120)
async def test_a_rolling_restart_fails_no_request(platform_processes: Platform) -> None:
    """Each process in turn is replaced under load on kept connections: no failure, no reset, all take part."""
    processes = await platform_processes.serve("auth", "auth", DRAIN_SECONDS="2")
    proxy, stop = Proxy(processes), asyncio.Event()
    watching = asyncio.create_task(proxy.watch())
    lanes = [asyncio.create_task(proxy.keep_asking(lane, stop)) for lane in range(8)]
    for process in processes:
        before = dict(proxy.served)
        assert process.port is not None
        assert await platform_processes.stop(process) == 0
        await platform_processes.serve("auth", port=process.port, DRAIN_SECONDS="2")
        await until(lambda port=process.port, before=before: proxy.served[port] > before[port] + 50)  # type: ignore[misc]
    stop.set()
    await asyncio.gather(*lanes)
    watching.cancel()
    assert proxy.failures == []
    assert not [complaint for process in platform_processes.processes for complaint in process.complaints()]
