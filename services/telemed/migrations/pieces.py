"""Changes of data that are too long for one transaction: done in pieces, before the revision that needs them done."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from telemed.kernel.engine import asyncpg_url

CONNECT_ARGS = {"statement_cache_size": 0, "timeout": 10}


def do_in_pieces(database_url: str, revision: str, statement: str) -> None:
    """Repeat *statement*, each time as a transaction of its own, until it changes nothing.

    Only in a database at *revision*; at any other there is nothing to be done, or somebody else has done it. Whoever is
    stopped half-way goes on from there the next time.
    """
    asyncio.run(_repeat(database_url, revision, statement))


async def _repeat(database_url: str, revision: str, statement: str) -> None:
    engine = create_async_engine(asyncpg_url(database_url), poolclass=NullPool, connect_args=CONNECT_ARGS)
    try:
        while await _piece(engine, revision, statement):
            pass
    finally:
        await engine.dispose()


async def _piece(engine: AsyncEngine, revision: str, statement: str) -> int:
    async with engine.begin() as connection:
        if await connection.scalar(text("SELECT version_num FROM alembic_version")) != revision:
            return 0
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        changed = await connection.execute(text(statement))
        return changed.rowcount
