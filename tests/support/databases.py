"""Databases for tests: migrated once for a run, then copied file by file."""

import asyncio
import secrets
from dataclasses import dataclass

import asyncpg
from tests.servers import TestServers

from telemed.migrations.runner import migrate

TEMPLATE = "telemed_template"
_TEMPLATE_LOCK = 4_177_001  # workers of xdist queue on it; the first one migrates


@dataclass(frozen=True)
class TestDatabase:
    """One migrated database and its address for each role."""

    __test__ = False  # not a class of tests

    servers: TestServers
    name: str

    @property
    def owner(self) -> str:
        """Address for the owner of the tables, for whom no grant counts: to arrange and to look."""
        return self.servers.role_dsn(self.name, "telemed_owner")

    @property
    def services(self) -> str:
        """Address for the HTTP services."""
        return self.servers.role_dsn(self.name, "telemed_api")

    @property
    def auditor(self) -> str:
        """Address for the audit API."""
        return self.servers.role_dsn(self.name, "telemed_audit_api")

    @property
    def worker(self) -> str:
        """Address for the worker's jobs."""
        return self.servers.role_dsn(self.name, "telemed_jobs")

    @property
    def superuser(self) -> str:
        """Address for the superuser: to cut connections and to change what nobody else may."""
        return self.servers.database_dsn(self.name)


def ensure_template(servers: TestServers) -> None:
    """Make the migrated template unless another worker has done so."""
    asyncio.run(_ensure_template(servers))


async def _ensure_template(servers: TestServers) -> None:
    superuser = await asyncpg.connect(servers.superuser_dsn)
    try:
        await superuser.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
        if await superuser.fetchval("SELECT true FROM pg_database WHERE datname = $1", TEMPLATE):
            return
        unfinished = f"{TEMPLATE}_{secrets.token_hex(4)}"
        await servers.acreate_database(unfinished)
        # Alembic's entry runs an event loop of its own.
        await asyncio.to_thread(migrate, servers.role_dsn(unfinished, "telemed_owner"))
        await superuser.execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")
    finally:
        await superuser.close()


async def clone(servers: TestServers, name: str) -> TestDatabase:
    """Copy the template, its database-wide settings included: `CREATE DATABASE` leaves those behind."""
    await servers.acreate_database(name, TEMPLATE)
    superuser = await asyncpg.connect(servers.superuser_dsn)
    try:
        rows = await superuser.fetch(
            """
            SELECT unnest(setconfig) AS setting
            FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
            WHERE d.datname = $1 AND s.setrole = 0
            """,
            TEMPLATE,
        )
        for row in rows:
            key, _, value = row["setting"].partition("=")
            await superuser.execute(f"ALTER DATABASE {name} SET {key} = '{value}'")
    finally:
        await superuser.close()
    return TestDatabase(servers, name)


def unused_name(purpose: str = "fresh") -> str:
    """Give a database name that nobody has."""
    return f"telemed_{purpose}_{secrets.token_hex(6)}"
