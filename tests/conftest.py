"""What every test can ask for.

Servers are started once a run and a database is migrated once; each worker of xdist has a copy of its own, so tests
run in any order and in parallel. They share that copy with others of their worker: make your own people (`people`,
`clinic`) and look at nothing else. A module that needs a database for itself says so:

    @pytest.fixture
    def database(fresh_database): return fresh_database
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import hypothesis
import pytest
import redis.asyncio
from starlette.types import ASGIApp
from tests import servers
from tests.servers import TestServers
from tests.support.clinic import Clinic
from tests.support.databases import TestDatabase, clone, ensure_template, unused_name
from tests.support.events import LoggedEvents, recorded_events
from tests.support.express import BehindExpress
from tests.support.people import People
from tests.support.platform import Platform, running_platform
from tests.support.scenes import Scenes
from tests.support.settings import NOW, make_settings
from tests.support.ways import Ways

from telemed.kernel.clock import ManualClock, SystemClock
from telemed.kernel.http import admission
from telemed.kernel.http.app import at_the_edge, build_api
from telemed.kernel.http.server import constraint_problems, opened
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.service import Service
from telemed.kernel.settings import Settings

_LOGICAL_DATABASES = 16  # of a Valkey server, as it comes


# A busy machine is no failure; and a run leaves nothing in the checkout.
hypothesis.settings.register_profile("telemed", deadline=None, database=None)
hypothesis.settings.load_profile("telemed")


def pytest_configure(config: pytest.Config) -> None:
    servers.start_for_session(config)
    # What a developer has exported for their own platform must not reach the tests.
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    # promtool and Prometheus are written in Go and live for seconds: with some more memory they clean up less often.
    os.environ.setdefault("GOGC", "400")


def pytest_unconfigure(config: pytest.Config) -> None:
    servers.stop_for_session(config)


@pytest.fixture(autouse=True)
def events() -> Iterator[LoggedEvents]:
    """What the code logs during the test. Undeclared problems and failed requests fail it."""
    with recorded_events() as logged:
        yield logged
    assert not logged.offences, logged.offences


@pytest.fixture(scope="session")
def test_servers() -> TestServers:
    """The PostgreSQL and the Valkey of this run, with the migrated template database."""
    shared = servers.shared_servers()
    ensure_template(shared)
    return shared


@pytest.fixture(scope="session")
def worker_database(test_servers: TestServers, worker_id: str) -> TestDatabase:
    """The database of this worker of xdist; ask for `database` instead."""
    return asyncio.run(clone(test_servers, f"telemed_{worker_id}"))


@pytest.fixture
def database(worker_database: TestDatabase) -> TestDatabase:
    """A migrated database, shared with the other tests of this worker."""
    return worker_database


@pytest.fixture
def fresh_database(test_servers: TestServers) -> Iterator[TestDatabase]:
    """A migrated, empty database for this test alone."""
    made = asyncio.run(clone(test_servers, unused_name()))
    yield made
    test_servers.drop_database(made.name)


@pytest.fixture
async def owner(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection that may read and write every table: to arrange and to look."""
    connection = await asyncpg.connect(database.owner)
    yield connection
    await connection.close()


@pytest.fixture
def redis_url(test_servers: TestServers, worker_id: str) -> str:
    """The address of this worker's logical database; override it to put something else there."""
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    return f"{test_servers.redis_url.rstrip('/').removesuffix('/0')}/{number % _LOGICAL_DATABASES}"


@pytest.fixture
def settings(database: TestDatabase, redis_url: str) -> Settings:
    """Settings of a platform on this test's servers, with cheap hashing."""
    return make_settings(database, redis_url)


@pytest.fixture
def clock() -> ManualClock:
    """The time of the in-process application; stands still until the test moves it."""
    return ManualClock(NOW)


@pytest.fixture(scope="session")
def services() -> tuple[Service, ...]:
    """The services of the combined application."""
    from telemed.cli import DEPLOYABLES  # here, so that a service that cannot be imported fails only its own tests

    return DEPLOYABLES["all"]


@pytest.fixture
async def resources(settings: Settings, clock: ManualClock, services: tuple[Service, ...]) -> AsyncIterator[Resources]:
    """The resources of the combined application, with the parts of every service, on an empty cache."""
    await _flush(settings)
    async with (
        open_resources(
            settings, constraint_problems=constraint_problems(services), clock=clock, watched=True
        ) as opened_resources,
        opened(services, opened_resources),
    ):
        yield opened_resources


@pytest.fixture
def app(resources: Resources, services: tuple[Service, ...], monkeypatch: pytest.MonkeyPatch) -> BehindExpress:
    """The combined application at its edge and on both ways, which lets everybody in however late the event loop is.

    The machine that runs the tests is busy with them; who is refused when it is late has tests of its own, and so has
    the priority of hashing: beside tests on every core, whoever registers or logs in would wait for the lowest.
    """
    monkeypatch.setattr(admission, "LATENESS_SECONDS", {})
    monkeypatch.setattr("telemed.auth.passwords.threads.NICENESS", 0)
    return BehindExpress(at_the_edge(build_api(services, resources, with_platform_routes=True), services, resources))


@pytest.fixture
async def api(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the combined application in this process, from an address of its own (limits count by address)."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(_client_address(), 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://telemed.test") as client:
        yield client


@pytest.fixture
def people(api: httpx.AsyncClient, database: TestDatabase, settings: Settings, clock: ManualClock) -> People:
    """Makes users who call `api`."""
    return People(api, database.owner, settings, clock)


@pytest.fixture
def clinic(people: People, clock: ManualClock) -> Clinic:
    """Makes listed doctors, slots (from tomorrow on) and appointments through `api`."""
    return Clinic(people, clock.now() + timedelta(days=1))


@pytest.fixture
def scenes(people: People, clinic: Clinic, clock: ManualClock, owner: asyncpg.Connection) -> Scenes:
    """Sets up what each operation needs, through `api`."""
    return Scenes(people, clinic, clock, owner)


@pytest.fixture
def ways(app: BehindExpress, monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Both ways into `app`: what is not sent by `ways.straight` takes the ordinary one."""
    return Ways(app, monkeypatch)


@pytest.fixture
async def platform_processes(settings: Settings, tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform of real processes on this test's database and the machine's clock; nothing runs yet.

    `await platform_processes.serve("all")` or `.serve("auth", "booking", "consultation")`, `.work()`.
    """
    await _flush(settings)
    async with running_platform(settings, tmp_path) as platform:
        yield platform


@pytest.fixture
def live_people(platform_processes: Platform, database: TestDatabase, settings: Settings) -> People:
    """Makes users who call the processes of `platform_processes`."""
    return People(platform_processes.client, database.owner, settings, SystemClock())


@pytest.fixture
def live_clinic(live_people: People) -> Clinic:
    """Makes listed doctors, slots (from tomorrow on) and appointments through the processes."""
    tomorrow = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Clinic(live_people, tomorrow)


async def _flush(settings: Settings) -> None:
    if "+" in settings.redis_address.partition("://")[0]:
        return  # sentinels or a cluster: a test has them for itself, and they begin empty
    client = redis.asyncio.Redis.from_url(settings.redis_address)
    await client.flushdb()
    await client.aclose()


def _client_address() -> str:
    return "10." + ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))
