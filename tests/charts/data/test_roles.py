"""Roles as the chart and the operator make them, on a real server: the same rights as elsewhere."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from tests.charts.rendering import Object, render_objects
from tests.servers import ALL_ROLES, server_folder
from tests.support.databases import TestDatabase

from telemed.local import roles
from telemed.local.postgres import PostgresServer, start_postgres
from telemed.migrations.runner import migrate

# Attributes of a role in the operator's words, and in those of SQL.
_ATTRIBUTES = {"login": "LOGIN", "createrole": "CREATEROLE", "createdb": "CREATEDB", "superuser": "SUPERUSER"}
_ROLES = """
    SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
        rolconnlimit
    FROM pg_roles WHERE rolname LIKE 'telemed%' ORDER BY rolname
"""
_MEMBERSHIPS = """
    SELECT g.rolname AS group_name, m.rolname AS member, admin_option, inherit_option, set_option
    FROM pg_auth_members AS a JOIN pg_roles AS g ON g.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
    WHERE g.rolname LIKE 'telemed%' OR m.rolname LIKE 'telemed%' ORDER BY 1, 2
"""
_GRANTS = """
    SELECT c.oid::regclass::text AS thing, c.relowner::regrole::text AS owner, c.relacl::text AS grants
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('auth', 'booking', 'consultation', 'audit', 'platform')
    UNION ALL
    SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL
    SELECT p.oid::regprocedure::text, p.proowner::regrole::text, p.proacl::text
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('auth', 'booking', 'consultation', 'audit', 'platform')
    ORDER BY 1
"""


@dataclass(frozen=True)
class Born:
    """A server whose roles were made as the operator makes them."""

    server: PostgresServer
    cluster: Object

    def owner(self) -> str:
        return f"postgresql://{roles.OWNER}:not-a-secret@127.0.0.1:{self.server.port}/{roles.DATABASE}"


@pytest.fixture(scope="module")
def born() -> Iterator[Born]:
    cluster = next(item for item in render_objects("telemed-data") if item["kind"] == "Cluster")
    with server_folder("telemed-born-") as (folder, guard):
        server = start_postgres(folder / "postgres", guard, {"fsync": "off"})
        asyncio.run(_give_birth(server, cluster))
        yield Born(server, cluster)


def test_the_groups_and_logins_are_those_of_the_platform(born: Born) -> None:
    """By name: who would forget one would find out in production."""
    managed = {role["name"]: role for role in born.cluster["spec"]["managed"]["roles"]}
    assert set(managed) == set(ALL_ROLES)
    assert {name: managed[name]["inRoles"] for name in roles.LOGINS} == {
        login: [group] for login, group in roles.LOGINS.items()
    }


async def test_the_rights_are_those_of_a_platform_on_one_machine(born: Born, database: TestDatabase) -> None:
    """Attributes and memberships, ADMIN OPTION included."""
    ours = await _catalog(born.server.dsn(), _ROLES, _MEMBERSHIPS)
    assert ours == await _catalog(database.superuser, _ROLES, _MEMBERSHIPS)
    assert any(membership["admin_option"] for membership in ours[1])


async def test_the_operators_next_round_takes_nothing_away(born: Born) -> None:
    """It compares memberships with inRoles by name, again and again, and revokes what is not listed."""
    before = await _catalog(born.server.dsn(), _ROLES, _MEMBERSHIPS)
    connection = await asyncpg.connect(born.server.dsn())
    await _manage(connection, born.cluster)
    await connection.close()
    assert await _catalog(born.server.dsn(), _ROLES, _MEMBERSHIPS) == before


async def test_the_migrations_give_the_same_grants(born: Born, database: TestDatabase) -> None:
    """On every table, schema and function; tests/architecture/test_privileges.py says what they amount to."""
    await asyncio.to_thread(migrate, born.owner())
    (ours,) = await _catalog(born.owner(), _GRANTS)
    (theirs,) = await _catalog(database.owner, _GRANTS)
    assert len(ours) > 50
    assert ours == theirs


def test_the_monitor_is_made_when_asked_for() -> None:
    """With the right to read statistics, and no other."""
    objects = render_objects("telemed-data", {"roles": {"monitor": {"enabled": True}}})
    (cluster,) = (item for item in objects if item["kind"] == "Cluster")
    (monitor,) = (role for role in cluster["spec"]["managed"]["roles"] if role["name"] == "telemed_monitor")
    assert monitor["inRoles"] == ["pg_monitor"]
    assert not {"superuser", "createrole", "createdb", "replication", "bypassrls"} & set(monitor)


async def _give_birth(server: PostgresServer, cluster: Object) -> None:
    """Do what the operator does with a new database, in its order: owner, postInitSQL, database; then managed roles."""
    initdb = cluster["spec"]["bootstrap"]["initdb"]
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(f"CREATE ROLE {initdb['owner']} LOGIN")
    for statement in initdb["postInitSQL"]:
        await connection.execute(statement)
    await connection.execute(f"CREATE DATABASE {initdb['database']} OWNER {initdb['owner']}")
    await _manage(connection, cluster)
    await connection.close()


async def _manage(connection: asyncpg.Connection, cluster: Object) -> None:
    """Bring the managed roles to what the cluster says, as the operator does every time it looks."""
    for role in cluster["spec"]["managed"]["roles"]:
        name = role["name"]
        exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name)
        words = [word if role.get(key) else f"NO{word}" for key, word in _ATTRIBUTES.items()]
        await connection.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {name} {' '.join(words)}")
        await connection.execute(f"ALTER ROLE {name} PASSWORD 'not-a-secret'")
        wanted = set(role.get("inRoles", []))
        rows = await connection.fetch(
            "SELECT g.rolname FROM pg_auth_members AS a JOIN pg_roles AS g ON g.oid = a.roleid "
            "WHERE a.member = $1::regrole",
            name,
        )
        present = {row["rolname"] for row in rows}
        for group in wanted - present:
            await connection.execute(f"GRANT {group} TO {name}")
        for group in present - wanted:
            await connection.execute(f"REVOKE {group} FROM {name}")


async def _catalog(dsn: str, *queries: str) -> list[list[dict[str, Any]]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [[dict(row) for row in await connection.fetch(query)] for query in queries]
    finally:
        await connection.close()
