import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from tests.support.counters import OpenDatabase
from tests.support.databases import TestDatabase
from tests.support.settings import make_settings
from tests.support.tiny import tiny_service

from telemed.kernel.database import ConstraintProblems, Database
from telemed.kernel.service import Service
from telemed.kernel.telemetry.metrics import Metrics


@pytest.fixture
async def counters(database: TestDatabase) -> AsyncIterator[str]:
    """A table of (id, value) with the counters 1 and 2 at 0; the services may do with it what they like."""
    name = f"counters_{secrets.token_hex(4)}"
    owner = await asyncpg.connect(database.owner)
    try:
        await owner.execute(
            f"""
            CREATE TABLE platform.{name} (
                id integer CONSTRAINT {name}_pkey PRIMARY KEY,
                value integer NOT NULL CONSTRAINT {name}_small CHECK (value < 1000)
            )
            """
        )
        await owner.execute(f"INSERT INTO platform.{name} VALUES (1, 0), (2, 0)")
        await owner.execute(f"GRANT ALL ON platform.{name} TO telemed_services")
        yield f"platform.{name}"
        await owner.execute(f"DROP TABLE platform.{name}")
    finally:
        await owner.close()


@pytest.fixture
async def open_database(database: TestDatabase) -> AsyncIterator[OpenDatabase]:
    """Opens a `Database` for the services; keywords are settings, an address and constraint problems."""
    async with AsyncExitStack() as stack:

        async def make(
            url: str | None = None, constraint_problems: ConstraintProblems | None = None, **changes: Any
        ) -> Database:
            made = Database(
                url or database.services,
                settings=make_settings(database, **changes),
                metrics=Metrics(),
                constraint_problems=constraint_problems,
            )
            stack.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
async def db(open_database: OpenDatabase) -> Database:
    """The services' database with a pool of four."""
    return await open_database(database_pool_size=4)


@pytest.fixture
async def raising(owner: asyncpg.Connection) -> AsyncIterator[str]:
    """A statement that fails with the SQLSTATE it is given."""
    name = f"raise_{secrets.token_hex(4)}"
    await owner.execute(
        f"""
        CREATE FUNCTION platform.{name}(state text) RETURNS integer LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION USING ERRCODE = state; END $$
        """
    )
    yield f"SELECT platform.{name}($1)"
    await owner.execute(f"DROP FUNCTION platform.{name}(text)")


@pytest.fixture
def services(counters: str) -> tuple[Service, ...]:
    """The tiny service instead of the platform's: `api` and `people` then speak to it."""
    return (tiny_service(counters),)
