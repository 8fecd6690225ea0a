"""The database and its roles, as a superuser makes them before the first migration.

The group roles carry the grants that the migrations give; the login roles only have a password and a group.
In production a DBA makes the same roles (decision 0002 lists them).
"""

import re
from collections.abc import Mapping

import asyncpg

OWNER = "telemed_owner"
# login role → the group whose grants it has
LOGINS = {
    "telemed_api": "telemed_services",
    "telemed_audit_api": "telemed_auditor",
    "telemed_jobs": "telemed_worker",
}
DATABASE = "telemed"

# Names and passwords are pasted into SQL, because CREATE ROLE takes no parameters: no quote may get in.
_SAFE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SAFE_PASSWORD = re.compile(r"[A-Za-z0-9_-]{8,128}")


async def prepare_roles(superuser: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    """Make the owner, the three groups and the three logins, or give those that exist these passwords.

    *passwords* has one for the owner and each login. Idempotent. Roles belong to the whole server, so once is
    enough for all its databases.
    """
    present = {row["rolname"] for row in await superuser.fetch("SELECT rolname FROM pg_roles")}
    async with superuser.transaction():
        for role in (OWNER, *LOGINS):
            verb = "ALTER" if role in present else "CREATE"
            await superuser.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{_checked(passwords[role])}'")
        await superuser.execute(f"ALTER ROLE {OWNER} CREATEROLE")
        for login, group in LOGINS.items():
            if group not in present:
                await superuser.execute(f"CREATE ROLE {group} NOLOGIN")
            await superuser.execute(f"GRANT {group} TO {OWNER} WITH ADMIN OPTION")
            await superuser.execute(f"GRANT {group} TO {login}")


async def prepare_database(superuser: asyncpg.Connection, name: str = DATABASE, template: str | None = None) -> None:
    """Make the database and give it to the owner; nothing happens if it exists.

    A copy of a *template* is made file by file: a tenth of a second, where migrations take seconds.
    """
    for part in (name, template or name):
        if not _SAFE_NAME.fullmatch(part):
            raise ValueError(f"not a database name: {part!r}")
    if await superuser.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        return
    source = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    await superuser.execute(f"CREATE DATABASE {name} OWNER {OWNER}{source}")


def _checked(password: str) -> str:
    if not _SAFE_PASSWORD.fullmatch(password):
        raise ValueError("a role's password may only have letters, digits, - and _")
    return password
