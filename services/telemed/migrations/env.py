"""Alembic's entry: one transaction for the whole upgrade, on one direct connection."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from telemed.kernel.engine import asyncpg_url
from telemed.migrations.pieces import CONNECT_ARGS

# Any number will do, as long as every migration takes the same.
_MIGRATION_LOCK = 7_035_202_611


def _run(connection: Connection) -> None:
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        # Better to fail than to queue every request behind a table lock.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        if context.config.attributes.get("may_be_newer") and _is_newer():
            return
        context.run_migrations()


def _is_newer() -> bool:
    """Tell whether a later version of the code has been here: a release that is rolled back finds its database so.

    Revisions are numbered, so one that we do not know and that comes after all of ours is a later one.
    """
    present = context.get_context().get_current_heads()
    newest = context.script.get_current_head()
    return newest is not None and any(revision > newest for revision in present)


async def _main() -> None:
    url = asyncpg_url(context.config.attributes["database_url"])
    engine = create_async_engine(url, poolclass=NullPool, connect_args=CONNECT_ARGS)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_main())
