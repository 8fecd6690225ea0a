from collections.abc import AsyncIterator

import pytest
from tests.support.databases import TestDatabase

from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose months nobody else makes and drops."""
    return fresh_database


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Resources]:
    """The resources of a worker process; on the machine's clock, as the database's own months are."""
    async with open_resources(settings, constraint_problems={}, database=settings.worker_database) as opened:
        yield opened
