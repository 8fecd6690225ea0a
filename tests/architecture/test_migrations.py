"""Migrations: one line of history that can be walked both ways, and tables that the models describe truly."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel
from tests.servers import TestServers
from tests.support.databases import TestDatabase, unused_name

import telemed.cli  # noqa: F401 - so that every model is known
from telemed.migrations.runner import _config, migrate, newest_revision

# What a schema consists of, as one comparable list: columns, constraints, indexes, grants, functions, triggers.
PICTURE = """
    SELECT 'column ' || table_schema || '.' || table_name || '.' || column_name || ' ' || data_type || ' '
        || is_nullable || ' ' || coalesce(column_default, '') AS line
    FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL
    SELECT 'grant ' || table_schema || '.' || table_name || ' ' || grantee || ' ' || privilege_type
    FROM information_schema.table_privileges WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    UNION ALL
    SELECT 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure || ' ' || md5(prosrc) FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'public')
    UNION ALL
    SELECT 'trigger ' || tgrelid::regclass || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY line
"""


@pytest.fixture
def empty_database(test_servers: TestServers) -> Iterator[TestDatabase]:
    """A database that no migration has seen."""
    made = TestDatabase(test_servers, unused_name("empty"))
    test_servers.create_database(made.name)
    yield made
    test_servers.drop_database(made.name)


def lines_of(database: TestDatabase, query: str) -> list[str]:
    """Run a query of one column."""

    async def run() -> list[str]:
        connection = await asyncpg.connect(database.superuser)
        try:
            return [str(row[0]) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(run())


def test_the_history_is_one_line() -> None:
    """Numbered without a gap, each on top of the one before; two heads would be two truths."""
    script = ScriptDirectory.from_config(_config(""))
    revisions = list(script.walk_revisions())[::-1]
    assert [revision.revision for revision in revisions] == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert [revision.down_revision for revision in revisions[1:]] == [r.revision for r in revisions[:-1]]
    assert script.get_heads() == [newest_revision()]


def test_each_migration_says_when_it_is_safe() -> None:
    """Before the new code is out, or after the old code is gone."""
    for revision in ScriptDirectory.from_config(_config("")).walk_revisions():
        assert "(pre)" in revision.doc or "(post)" in revision.doc, revision.revision
        assert f"/{revision.revision}_" in revision.path


def test_every_migration_has_a_way_back(empty_database: TestDatabase) -> None:
    """Up, all the way down, and up again gives the same; nothing stays behind in between."""
    migrate(empty_database.owner)
    first = lines_of(empty_database, PICTURE)
    command.downgrade(_config(empty_database.owner), "base")
    left = [line for line in lines_of(empty_database, PICTURE) if "alembic_version" not in line]
    assert [line for line in left if not line.startswith(("schema public", "schema information_schema"))] == []
    migrate(empty_database.owner)
    assert lines_of(empty_database, PICTURE) == first


def test_migrating_twice_changes_nothing(empty_database: TestDatabase) -> None:
    """Every deployment runs it; most have nothing to do."""
    migrate(empty_database.owner)
    first = lines_of(empty_database, PICTURE)
    migrate(empty_database.owner)
    assert lines_of(empty_database, PICTURE) == first


def test_several_processes_may_migrate_at_once(empty_database: TestDatabase) -> None:
    """A rolling update starts more than one; they queue."""

    async def several() -> None:
        await asyncio.gather(*(asyncio.to_thread(migrate_apart, empty_database.owner) for _ in range(3)))

    asyncio.run(several())
    assert lines_of(empty_database, "SELECT version_num FROM alembic_version") == [newest_revision()]


def migrate_apart(address: str) -> None:
    """Migrate in a process of its own: alembic keeps its state in module globals."""
    import subprocess
    import sys

    code = "import sys; from telemed.migrations.runner import migrate; migrate(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, address], check=True, timeout=60)


def test_models_describe_the_tables(worker_database: TestDatabase) -> None:
    """Every table of a model exists with exactly its columns, and every column that must not be null says so."""
    columns: dict[str, dict[str, bool]] = {}
    for line in lines_of(
        worker_database,
        """
        SELECT table_schema || '.' || table_name || ' ' || column_name || ' ' || is_nullable
        FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
        """,
    ):
        table, column, nullable = line.split()
        columns.setdefault(table, {})[column] = nullable == "YES"
    for name, model in SQLModel.metadata.tables.items():
        described = {column.name: bool(column.nullable) for column in model.columns}
        assert described == columns[name], name


def test_constraints_and_indexes_have_names_of_their_own(worker_database: TestDatabase) -> None:
    """A name that was given can be mapped to a problem and found in a log; a generated one cannot."""
    generated = lines_of(
        worker_database,
        r"""
        SELECT conrelid::regclass || ' ' || conname FROM pg_constraint
        WHERE connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'public')
          AND contype <> 'n' AND conname ~ '(_check\d*|_fkey\d*|_excl\d*)$'
        """,
    )
    assert generated == []


def test_functions_that_run_as_their_owner_pin_their_search_path(worker_database: TestDatabase) -> None:
    """Otherwise a caller puts a table of theirs in front of ours."""
    unpinned = lines_of(
        worker_database,
        """
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE prosecdef AND nspname NOT IN ('pg_catalog', 'information_schema')
          AND NOT coalesce(array_to_string(proconfig, ' ') LIKE '%search_path=%', false)
        """,
    )
    assert unpinned == []


def test_functions_that_run_as_their_owner_are_not_for_everybody(worker_database: TestDatabase) -> None:
    """EXECUTE is everybody's until it is revoked."""
    open_to_all = lines_of(
        worker_database,
        """
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE prosecdef AND nspname NOT IN ('pg_catalog', 'information_schema')
          AND (proacl IS NULL OR EXISTS (
              SELECT FROM aclexplode(proacl) AS a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))
        """,
    )
    assert open_to_all == []


def test_functions_that_may_change_something_are_not_for_everybody(worker_database: TestDatabase) -> None:
    """With whose rights they ever act. Those of triggers cannot be called."""
    open_to_all = lines_of(
        worker_database,
        """
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'public')
          AND provolatile = 'v' AND prorettype <> 'trigger'::regtype
          AND has_function_privilege('public', p.oid, 'EXECUTE')
        """,
    )
    assert open_to_all == []
