from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from tests.support.connections import Connection
from tests.support.stalls import waiting_for_locks

from telemed.cli import DEPLOYABLES
from telemed.kernel.service import Service


@pytest.fixture
def services() -> tuple[Service, ...]:
    """The platform's own services, and not the tiny one of the tests beside."""
    return DEPLOYABLES["all"]


@pytest.fixture
def waiting(owner: asyncpg.Connection) -> Callable[[], Awaitable[int]]:
    """Counts the statements that wait for a lock."""

    async def count() -> int:
        return await waiting_for_locks(owner)

    return count


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[int | None], Awaitable[Connection]]]:
    """Connects to a port; what the test leaves open is closed in the end."""
    made: list[Connection] = []

    async def to(port: int | None) -> Connection:
        made.append(await Connection.to(port))
        return made[-1]

    yield to
    for connection in made:
        await connection.closed()
