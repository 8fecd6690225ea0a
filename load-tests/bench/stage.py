"""What every measurement needs: a platform of its own on real servers, cores to put it on, and the kernel's counts."""

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services"), str(ROOT / "load-tests")]

from tests import servers
from tests.support.databases import TestDatabase, clone, ensure_template, unused_name
from tests.support.platform import Platform, TelemedProcess, running_platform
from tests.support.settings import make_settings

from dataset import loading
from dataset.cast import PASSWORD
from dataset.plan import Plan, current_instant
from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.passwords.rules import normalised_password
from telemed.kernel.settings import Settings
from telemed.local.postgres import PostgresServer, start_postgres
from telemed.local.processes import Guard
from telemed.local.valkey import ValkeyServer, start_valkey

TICKS = os.sysconf("SC_CLK_TCK")
SEED = 1  # of every data set
# A database that is measured keeps its promises: fsync is on. Room for checkpoints, so that they do not fall into one
# round and not into the other.
# Nor does autovacuum, which has ten million rows to look at after a load: `Wishes.settle` does it between the rounds.
POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "4GB", "max_connections": "200", "autovacuum": "off"}
# What a deployment would have; the tests' own settings are gentler, as their machine is busy.
LIKE_IN_LIFE = {"redis_timeout_seconds": 0.25, "database_pool_timeout_seconds": 3.0, "bcrypt_cost": 12}


@dataclass(frozen=True)
class Servers:
    """The PostgreSQL and the Valkey of a run, and the folder in which more can be started."""

    folder: Path
    guard: Guard
    postgres: PostgresServer
    valkey: ValkeyServer
    shared: servers.TestServers

    @property
    def postgres_pids(self) -> list[int]:
        """Give the postmaster and its children, as they are now."""
        return family(self.postgres.running.pid)


@dataclass(frozen=True)
class Ground:
    """A platform without processes yet, and what it stands on."""

    running: Platform
    database: TestDatabase
    settings: Settings
    postgres: int  # its process
    servers: Servers


@asynccontextmanager
async def servers_up() -> AsyncIterator[Servers]:
    """Start the servers of a run."""
    with servers.server_folder("telemed-bench-") as (folder, guard):
        postgres = start_postgres(folder / "postgres", guard, POSTGRES)
        valkey = start_valkey(folder / "valkey", guard)
        passwords = dict.fromkeys(servers.ALL_ROLES, "not-a-secret")
        await servers.prepare_roles(postgres.dsn(), passwords)
        shared = servers.TestServers("127.0.0.1", postgres.port, postgres.password, passwords, valkey.url)
        await asyncio.to_thread(ensure_template, shared)
        # Beside who asks, and not beside who is measured.
        pin(valkey.running.pid, asking_cores())
        yield Servers(folder, guard, postgres, valkey, shared)


@asynccontextmanager
async def ground(**changes: Any) -> AsyncIterator[Ground]:
    """Lend servers and an empty platform; *changes* are settings."""
    async with servers_up() as up, place(up, **changes) as lent:
        yield lent


@asynccontextmanager
async def place(up: Servers, *, number: int = 0, **changes: Any) -> AsyncIterator[Ground]:
    """Lend an empty platform on servers that run already; *number* tells its cache from those of others."""
    database = await clone(up.shared, unused_name("bench"))
    settings = make_settings(database, f"{up.valkey.url.rpartition('/')[0]}/{number}", **changes)
    with tempfile.TemporaryDirectory(prefix="telemed-bench-logs-") as log:
        async with running_platform(settings, Path(log)) as running:
            yield Ground(running, database, settings, up.postgres.running.pid, up)


async def fill(lent: Ground, slots: int) -> Plan:
    """Load a data set of this size."""
    plan = Plan(slots, SEED, current_instant())
    hashes = PasswordHashes(lent.settings.secret, cost=lent.settings.bcrypt_cost)
    password_hash = await asyncio.to_thread(hashes.make, normalised_password(PASSWORD))
    await loading.load(lent.database.owner, plan, password_hash, lambda *_: None)
    return plan


def served_core() -> set[int]:
    """Give the core of who is measured."""
    return {0}


def asking_cores() -> set[int]:
    """Give the cores of who asks: all but the one of who is measured."""
    return set(range(1, os.cpu_count() or 1)) or {0}


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process, with all its threads, on these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended since it was listed
            os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def starting_on(cores: set[int]) -> Iterator[None]:
    """Start on these cores whatever is started meanwhile, every thread of it from its beginning."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def serve_pinned(running: Platform, name: str, **settings: str) -> TelemedProcess:
    """Start a service alone on the core of who is measured."""
    with starting_on(served_core()):
        (process,) = await running.serve(name, **settings)  # type: ignore[arg-type]  # none of them is named port
    return process


def cpu_seconds(*pids: int) -> float:
    """Give the CPU time that processes and their ended children have used; those that are gone count for nothing."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[place]) for place in (11, 12)) / TICKS


def family(pid: int) -> list[int]:
    """Give a process and its children."""
    children = said("ps", "-o", "pid=", "--ppid", str(pid)).split()
    return [pid, *(int(child) for child in children)]


def said(*command: str) -> str:
    """Give what a command prints."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def commit() -> str:
    """Name the commit that is measured, and whether it is exactly that."""
    changed = said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "services")
    return said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") + ("+changes" if changed else "")


def facts(command: str) -> dict[str, Any]:
    """Give what a reader needs to judge a figure."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
        "command": command,
    }


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
