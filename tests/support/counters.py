"""Operations on a table of counters, for tests of transactions."""

from collections.abc import Awaitable, Callable

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.database import Database
from telemed.kernel.problems import Problem

OpenDatabase = Callable[..., Awaitable[Database]]


class TooMuch(Problem):
    """The counter cannot hold so much."""

    status = 409


async def add(session: AsyncSession, counters: str, number: int, by: int = 1) -> int:
    """Operation: add to a counter and give its value."""
    return int(
        await session.scalar(
            text(f"UPDATE {counters} SET value = value + :by WHERE id = :id RETURNING value"),
            {"by": by, "id": number},
        )
    )


async def value_of(owner: asyncpg.Connection, counters: str, number: int) -> int:
    """Look at a counter past the code under test."""
    return int(await owner.fetchval(f"SELECT value FROM {counters} WHERE id = $1", number))


async def refused_at_commit(owner: asyncpg.Connection, counters: str, value: int) -> str:
    """Let no other counter have this value, from its transaction's COMMIT on; gives the constraint's name."""
    name = f"{counters.removeprefix('platform.')}_late"
    await owner.execute(f"UPDATE {counters} SET value = $1 WHERE id = 2", value)
    await owner.execute(f"ALTER TABLE {counters} ADD CONSTRAINT {name} UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
    return name
