"""The real servers that the tests run against: one PostgreSQL and one Valkey for the whole run.

The pytest process that the developer started (the controller, under xdist) starts them before its workers and
stops them after; workers find them through one environment variable. A guard process stops them and deletes
their folder even when the controller is killed.

In tests/conftest.py:

    def pytest_configure(config):    servers.start_for_session(config)
    def pytest_unconfigure(config):  servers.stop_for_session(config)

and anywhere in a test or fixture: `servers.shared_servers()`.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import pytest

from telemed.local import roles
from telemed.local.postgres import PostgresServer, start_postgres
from telemed.local.problems import LocalProblem
from telemed.local.processes import Guard
from telemed.local.valkey import ValkeyServer, start_valkey

ALL_ROLES = (roles.OWNER, *roles.LOGINS)
ADDRESSES = "TELEMED_TEST_SERVERS"  # where workers read what the controller started
SETTINGS = {
    "max_connections": "300",  # every worker has several pools
    "shared_buffers": "128MB",
    # The data are thrown away after the run; tests of durability start a server of their own.
    "fsync": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True)
class TestServers:
    """Where the shared servers are, and how to get databases of them."""

    __test__ = False  # not a class of tests, whatever its name begins with

    host: str
    port: int
    superuser_password: str
    role_passwords: dict[str, str]
    redis_url: str

    @property
    def superuser_dsn(self) -> str:
        """Address of the server's own database for the superuser."""
        return self.database_dsn("postgres")

    def database_dsn(self, database: str) -> str:
        """Address of a database for the superuser."""
        return f"postgresql://postgres:{self.superuser_password}@{self.host}:{self.port}/{database}"

    def role_dsn(self, database: str, role: str) -> str:
        """Address of a database for telemed_owner, telemed_api, telemed_audit_api or telemed_jobs."""
        return f"postgresql://{role}:{self.role_passwords[role]}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make an empty database that telemed_owner owns, or a copy of one to which nobody is connected."""
        asyncio.run(self.acreate_database(name, template))

    def drop_database(self, name: str) -> None:
        """Delete the database, cutting whoever is still connected."""
        asyncio.run(self.adrop_database(name))

    async def acreate_database(self, name: str, template: str | None = None) -> None:
        """Do as `create_database`, inside an event loop."""
        async with _connection(self.superuser_dsn) as superuser:
            await roles.prepare_database(superuser, name, template)

    async def adrop_database(self, name: str) -> None:
        """Do as `drop_database`, inside an event loop."""
        async with _connection(self.superuser_dsn) as superuser:
            await superuser.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def start_for_session(config: pytest.Config) -> None:
    """Start the servers, once for a run; call it in `pytest_configure`."""
    if hasattr(config, "workerinput") or ADDRESSES in os.environ:
        return  # a worker of xdist, or a run inside a run: the controller's servers are used
    try:
        session = _Session()
    except LocalProblem as problem:
        raise pytest.UsageError(str(problem)) from problem
    config.stash[_SESSION] = session
    os.environ[ADDRESSES] = json.dumps(asdict(session.addresses))


def stop_for_session(config: pytest.Config) -> None:
    """Stop what `start_for_session` started; call it in `pytest_unconfigure`."""
    session = config.stash.get(_SESSION, None)
    if session is not None:
        os.environ.pop(ADDRESSES, None)
        session.close()


def shared_servers() -> TestServers:
    """Return the servers of this run, in the controller as in a worker."""
    return TestServers(**json.loads(os.environ[ADDRESSES]))


@contextlib.contextmanager
def own_valkey() -> Iterator[ValkeyServer]:
    """Lend a Valkey of one's own, to stop, freeze, thaw and flush; it is gone afterwards, even if frozen."""
    with server_folder("telemed-valkey-") as (folder, guard):
        yield start_valkey(folder / "valkey", guard)


@contextlib.contextmanager
def own_postgres(settings: dict[str, str] | None = None) -> Iterator[PostgresServer]:
    """Lend a PostgreSQL of one's own that is durable (fsync on) unless *settings* say otherwise."""
    with server_folder("telemed-postgres-") as (folder, guard):
        server = start_postgres(folder / "postgres", guard, settings)
        asyncio.run(prepare_roles(server.dsn(), dict.fromkeys(ALL_ROLES, "not-a-secret")))
        yield server


@contextlib.contextmanager
def server_folder(prefix: str) -> Iterator[tuple[Path, Guard]]:
    """Lend a short-lived folder that another account can enter, and a guard for what is started in it."""
    folder, guard = _new_folder(prefix)
    try:
        yield folder, guard
    finally:
        guard.close()
        shutil.rmtree(folder, ignore_errors=True)


async def prepare_roles(superuser_dsn: str, passwords: dict[str, str]) -> None:
    """Make the roles of the platform on a server."""
    async with _connection(superuser_dsn) as superuser:
        await roles.prepare_roles(superuser, passwords)


class _Session:
    """What one run of pytest has started."""

    def __init__(self) -> None:
        self.folder, self.guard = _new_folder("telemed-tests-")
        try:
            self.postgres = start_postgres(self.folder / "postgres", self.guard, SETTINGS)
            self.valkey = start_valkey(self.folder / "valkey", self.guard)
            passwords = {role: secrets.token_urlsafe(18) for role in ALL_ROLES}
            asyncio.run(prepare_roles(self.postgres.dsn(), passwords))
        except BaseException:
            self.guard.close()
            raise
        self.addresses = TestServers(
            "127.0.0.1", self.postgres.port, self.postgres.password, passwords, self.valkey.url
        )

    def close(self) -> None:
        self.valkey.stop()
        self.postgres.stop()
        self.guard.close()


_SESSION = pytest.StashKey[_Session]()


def _new_folder(prefix: str) -> tuple[Path, Guard]:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711)
    guard = Guard()
    guard.remove(folder)
    return folder, guard


@contextlib.asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)
