"""What journeys over the whole API start from."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.servers import TestServers
from tests.support.databases import clone, unused_name
from tests.support.fleet import Fleet, SharedFleet, joined, shared_fleet
from tests.support.settings import make_settings


@pytest.fixture(scope="module")
def running_fleet(
    request: pytest.FixtureRequest, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[SharedFleet]:
    """The processes that the module names in FLEET, on a database of their own; ask for `fleet` instead."""
    database = asyncio.run(clone(test_servers, unused_name("fleet")))
    # The upper half of the logical databases: the lower one belongs to `redis_url`, which other tests flush.
    number = 8 + (int(worker_id.removeprefix("gw")) % 8 if worker_id.startswith("gw") else 0)
    redis_url = f"{test_servers.redis_url.rstrip('/').removesuffix('/0')}/{number}"
    settings = make_settings(database, redis_url)
    with shared_fleet(request.module.FLEET, database, settings, tmp_path_factory.mktemp("fleet")) as running:
        yield running
    test_servers.drop_database(database.name)


@pytest.fixture
async def fleet(running_fleet: SharedFleet) -> AsyncIterator[Fleet]:
    """Several processes of each service, on one database that the tests of the module share."""
    async with joined(running_fleet) as lent:
        yield lent
