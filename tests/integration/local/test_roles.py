"""The roles that exist before the first migration."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from tests import servers

from telemed.local import roles
from telemed.local.postgres import PostgresServer

PASSWORDS = {role: f"password-of-{role}" for role in (roles.OWNER, *roles.LOGINS)}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with servers.own_postgres({"fsync": "off"}) as server:
        asyncio.run(servers.prepare_roles(server.dsn(), PASSWORDS))
        servers_of_test = servers.TestServers("127.0.0.1", server.port, server.password, PASSWORDS, "")
        servers_of_test.create_database(roles.DATABASE)
        yield server


async def connect(postgres: PostgresServer, role: str, password: str | None = None) -> asyncpg.Connection:
    dsn = f"postgresql://{role}:{password or PASSWORDS[role]}@127.0.0.1:{postgres.port}/{roles.DATABASE}"
    return await asyncpg.connect(dsn, timeout=10)


@pytest.mark.parametrize(("login", "group"), roles.LOGINS.items())
async def test_a_login_has_the_grants_of_its_group_and_no_other(
    postgres: PostgresServer, login: str, group: str
) -> None:
    """What a migration grants to a group is what its login may do, and nothing of the other groups."""
    table = f"seen_by_{group}"
    owner = await connect(postgres, roles.OWNER)
    await owner.execute(f"CREATE TABLE {table} (a int); GRANT SELECT ON {table} TO {group}")
    await owner.close()

    for other in roles.LOGINS:
        connection = await connect(postgres, other)
        if other == login:
            assert await connection.fetch(f"SELECT a FROM {table}") == []
        else:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT a FROM {table}")
        await connection.close()


async def test_a_login_makes_no_tables(postgres: PostgresServer) -> None:
    """Only the owner changes the schema."""
    connection = await connect(postgres, "telemed_api")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE intruder (a int)")
    await connection.close()


async def test_the_owner_makes_trusted_extensions(postgres: PostgresServer) -> None:
    """The exclusion constraints of booking need btree_gist, and no superuser runs migrations."""
    connection = await connect(postgres, roles.OWNER)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    await connection.close()


async def test_making_roles_again_gives_them_the_new_passwords(postgres: PostgresServer) -> None:
    """After lost secrets the next start makes new ones, and the old ones stop working."""
    await servers.prepare_roles(postgres.dsn(), {**PASSWORDS, "telemed_jobs": "another-password"})

    await (await connect(postgres, "telemed_jobs", "another-password")).close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(postgres, "telemed_jobs")
    await servers.prepare_roles(postgres.dsn(), PASSWORDS)


async def test_a_password_cannot_carry_sql(postgres: PostgresServer) -> None:
    """Passwords are pasted into statements, so quotes are refused."""
    with pytest.raises(ValueError, match="only have letters"):
        await servers.prepare_roles(postgres.dsn(), {**PASSWORDS, "telemed_api": "x' SUPERUSER --"})


async def test_nobody_connects_without_a_password(postgres: PostgresServer) -> None:
    """Other users of the machine reach the port, so every connection has to prove itself."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(postgres, "postgres", "wrong")
