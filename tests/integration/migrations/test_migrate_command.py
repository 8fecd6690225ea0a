"""`telemed migrate` as a Job of Kubernetes runs it: it knows one address, says what is wrong, and when to try again."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator

import asyncpg
import pytest
from tests.servers import TestServers
from tests.support.databases import TestDatabase, unused_name

from telemed.local.processes import free_port
from telemed.migrations.attempt import TRY_AGAIN
from telemed.migrations.runner import newest_revision


@pytest.fixture
def empty_database(test_servers: TestServers) -> Iterator[TestDatabase]:
    made = TestDatabase(test_servers, unused_name("migrated"))
    test_servers.create_database(made.name)
    yield made
    test_servers.drop_database(made.name)


async def migrate(**environment: str) -> tuple[int, str]:
    """Run the command with nothing in its environment but this; give its exit code and what it has said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "telemed.cli", "migrate"),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "services"), **environment},
        cwd=tempfile.gettempdir(),  # not the checkout: it may hold the secrets of a platform that somebody runs there
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def owner_says(database: TestDatabase, statement: str) -> str | None:
    connection = await asyncpg.connect(database.owner)
    try:
        return await connection.fetchval(statement)  # type: ignore[no-any-return]  # the driver does not say
    finally:
        await connection.close()


async def test_the_owners_address_is_enough(empty_database: TestDatabase) -> None:
    """A migration holds no pepper and no key: what it does not have it cannot leak."""
    code, words = await migrate(ENVIRONMENT="production", OWNER_DATABASE_URL=empty_database.owner)
    assert (code, words) == (0, "")
    assert await owner_says(empty_database, "SELECT version_num FROM alembic_version") == newest_revision()


async def test_production_needs_the_owners_address() -> None:
    """Without it, it would try a database on its own host, or another role's login through a pooler."""
    code, words = await migrate(ENVIRONMENT="production", DATABASE_URL="postgresql://services@pooler/telemed")
    assert code == 1
    assert words.startswith("telemed: OWNER_DATABASE_URL must be set in production")
    assert words.count("\n") == 1


async def test_a_database_that_is_not_there_yet_is_tried_again() -> None:
    """One sentence, and the exit code at which a Job tries again."""
    address = f"postgresql://telemed_owner:x@127.0.0.1:{free_port()}/telemed"
    code, words = await migrate(ENVIRONMENT="production", OWNER_DATABASE_URL=address)
    assert code == TRY_AGAIN
    assert words.startswith("telemed: The database cannot be reached")
    assert words.count("\n") == 1


async def test_a_wrong_password_is_not_tried_again(empty_database: TestDatabase) -> None:
    """Nothing would change by itself; the next attempts would only hide when it began."""
    address = empty_database.owner.replace("telemed_owner:", "telemed_owner:not")
    assert address != empty_database.owner
    code, words = await migrate(ENVIRONMENT="production", OWNER_DATABASE_URL=address)
    assert code == 1
    assert words.startswith("telemed: OWNER_DATABASE_URL: the database refuses it (password authentication failed")


async def test_a_release_that_is_rolled_back_leaves_a_newer_database_alone(empty_database: TestDatabase) -> None:
    """Its tables are those that the old version knows, and more; a Job that failed here would stop the way back."""
    await migrate(OWNER_DATABASE_URL=empty_database.owner)
    await owner_says(empty_database, "UPDATE alembic_version SET version_num = '9999'")
    code, words = await migrate(OWNER_DATABASE_URL=empty_database.owner)
    assert (code, words) == (0, "")
    assert await owner_says(empty_database, "SELECT version_num FROM alembic_version") == "9999"


async def test_a_database_of_something_else_is_refused(empty_database: TestDatabase) -> None:
    """A revision that is neither ours nor later than ours is nothing to build on."""
    await migrate(OWNER_DATABASE_URL=empty_database.owner)
    await owner_says(empty_database, "UPDATE alembic_version SET version_num = '0000'")
    code, words = await migrate(OWNER_DATABASE_URL=empty_database.owner)
    assert code not in {0, TRY_AGAIN}
    assert "0000" in words
