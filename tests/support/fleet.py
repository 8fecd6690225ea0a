"""Several processes of each service on one database: what the races run against."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
from tests.support import ledger
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase
from tests.support.people import People, User
from tests.support.platform import Platform, TelemedProcess, environment_of

from telemed.kernel.clock import SystemClock
from telemed.kernel.settings import Settings
from telemed.local.processes import Guard


@dataclasses.dataclass(frozen=True)
class SharedFleet:
    """The processes, which several tests share, each in an event loop of its own."""

    platform: Platform
    database: TestDatabase
    settings: Settings


@dataclasses.dataclass(frozen=True)
class Fleet:
    """The processes as one test uses them. *client* sends to the processes of a service in turn."""

    platform: Platform
    settings: Settings
    client: httpx.AsyncClient
    people: People
    clinic: Clinic
    owner: asyncpg.Connection
    direct: dict[int | None, httpx.AsyncClient]  # by port
    faults_before: dict[str, list[str]]

    async def faults(self) -> dict[str, list[str]]:
        """Give what this test has broken; what another one left behind is that one's failure."""
        found = await ledger.faults(self.owner)
        new = {name: sorted(set(rows) - set(self.faults_before.get(name, []))) for name, rows in found.items()}
        return {name: rows for name, rows in new.items() if rows}

    def of(self, name: str) -> list[TelemedProcess]:
        """Give the processes of one service."""
        return [process for process in self.platform.processes if process.name == name]

    def at(self, user: User, process: TelemedProcess) -> User:
        """Let the user call this very process."""
        return dataclasses.replace(user, client=self.direct[process.port])


@contextmanager
def shared_fleet(
    names: tuple[str, ...], database: TestDatabase, settings: Settings, folder: Path
) -> Iterator[SharedFleet]:
    """Start these processes (`worker` among them, if wanted) and stop them at the end; their logs hold no offence."""
    guard = Guard()
    platform = Platform(environment_of(settings), folder, guard)

    async def start() -> None:
        await platform.serve(*(name for name in names if name != "worker"))
        if "worker" in names:
            await platform.work()

    try:
        asyncio.run(start())
        yield SharedFleet(platform, database, settings)
    finally:
        asyncio.run(platform.close())
        guard.close()
    offences = [event for process in platform.processes for event in process.offences()]
    assert not offences, offences


@asynccontextmanager
async def joined(shared: SharedFleet) -> AsyncIterator[Fleet]:
    """Lend the fleet to one test."""
    tomorrow = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
    async with AsyncExitStack() as stack:
        owner = await asyncpg.connect(shared.database.owner)
        stack.push_async_callback(owner.close)
        client = await stack.enter_async_context(shared.platform.new_client())
        direct: dict[int | None, httpx.AsyncClient] = {
            process.port: await stack.enter_async_context(httpx.AsyncClient(base_url=process.url, timeout=30))
            for process in shared.platform.processes
            if process.port is not None
        }
        people = People(client, shared.database.owner, shared.settings, SystemClock())
        clinic, before = Clinic(people, tomorrow), await ledger.faults(owner)
        yield Fleet(shared.platform, shared.settings, client, people, clinic, owner, direct, before)
