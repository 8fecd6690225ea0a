"""Connections and sessions that a pooler in transaction mode bears: no prepared statement outlives its use."""

from typing import TYPE_CHECKING, Any

import asyncpg
import sqlalchemy.ext.asyncio
import sqlalchemy.orm
import sqlmodel
from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.settings import Settings
from telemed.kernel.sqlstates import is_disconnect, sqlstate

if TYPE_CHECKING:
    RawConnection = asyncpg.Connection[Any]  # generic in the stubs only
else:
    RawConnection = asyncpg.Connection


class _SyncSession(sqlmodel.Session):
    execute = sqlalchemy.orm.Session.execute


class Session(AsyncSession):
    """SQLModel's session without its deprecation of `execute`, which is how statements without a model are run.

    A warning on every statement would also cost more than the call itself.
    """

    sync_session_class = _SyncSession
    execute = sqlalchemy.ext.asyncio.AsyncSession.execute


def asyncpg_url(address: str) -> URL:
    """Read a ``postgresql://`` address as libpq writes it, ``sslmode`` included, for SQLAlchemy on asyncpg."""
    url = make_url(address.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+asyncpg")
    mode = url.query.get("sslmode")
    if mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def make_engine(url: str, settings: Settings) -> AsyncEngine:
    """Make the pool of connections to one address; opens none yet."""
    engine = create_async_engine(
        asyncpg_url(url),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=1800,  # after a failover, connections find the new primary within half an hour at the latest
        pool_use_lifo=True,  # the fewest connections stay warm, the others time out in the pooler
        hide_parameters=True,  # parameters are health data; they must not reach a log through an exception's text
        connect_args={
            "statement_cache_size": 0,  # a pooler in transaction mode gives each transaction another connection
            "prepared_statement_cache_size": 0,
            "timeout": settings.database_connect_timeout_seconds,
            "command_timeout": settings.database_command_timeout_seconds,
        },
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def _drop_demoted(context: Any) -> None:  # SQLAlchemy's ExceptionContext is untyped at this place
        # A standby answers SELECT 1 for ever: a connection that says "read only" must not go back into the pool.
        if is_disconnect(sqlstate(context.original_exception)):
            context.is_disconnect = True

    return engine


async def raw_connection(session: AsyncSession) -> RawConnection:
    """Give the driver's connection on which the session's transaction runs."""
    raw = await (await session.connection()).get_raw_connection()
    connection: RawConnection = raw.driver_connection  # type: ignore[assignment]  # typed as Any | None
    return connection
