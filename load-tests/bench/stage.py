"""What every measurement needs: a platform of its own on real servers, and the kernel's word on CPU time."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from tests import servers
from tests.support.databases import TestDatabase, clone, ensure_template, unused_name
from tests.support.platform import Platform, running_platform
from tests.support.settings import make_settings

from telemed.kernel.settings import Settings

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ground:
    """A platform without processes yet, and what it stands on."""

    running: Platform
    database: TestDatabase
    settings: Settings
    postgres: int  # its process


@asynccontextmanager
async def ground(**changes: Any) -> AsyncIterator[Ground]:
    """Lend servers and an empty platform; *changes* are settings."""
    with servers.server_folder("telemed-bench-") as (folder, guard):
        postgres = servers.start_postgres(folder / "postgres", guard, {"shared_buffers": "256MB"})
        valkey = servers.start_valkey(folder / "valkey", guard)
        await servers.prepare_roles(postgres.dsn(), dict.fromkeys(servers.ALL_ROLES, "not-a-secret"))
        passwords = dict.fromkeys(servers.ALL_ROLES, "not-a-secret")
        shared = servers.TestServers("127.0.0.1", postgres.port, postgres.password, passwords, valkey.url)
        await asyncio.to_thread(ensure_template, shared)
        database = await clone(shared, unused_name("bench"))
        settings = make_settings(database, valkey.url, **changes)
        log = Path(tempfile.mkdtemp(prefix="telemed-bench-logs-"))
        async with running_platform(settings, log) as running:
            yield Ground(running, database, settings, _postmaster(folder / "postgres"))


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process and its ended children have used; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[place]) for place in (11, 12)) / TICKS


def said(*command: str) -> str:
    """Give what a command prints."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def commit() -> str:
    """Name the commit that is measured."""
    return said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")


def _postmaster(folder: Path) -> int:
    return int(next(folder.rglob("postmaster.pid")).read_text().split()[0])
