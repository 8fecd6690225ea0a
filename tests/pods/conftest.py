"""What pods need: a database, a cache, keys, and a kubelet that runs them."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.charts.programs import MissingProgram, must_be_there, program
from tests.pods.kubelet import Kubelet, kubelet_on
from tests.servers import server_folder
from tests.support.databases import TestDatabase
from tests.support.settings import JWT_SECRET

from telemed.auth.tokens.key_files import write_key_pair
from telemed.kernel.settings import Settings


@pytest.fixture(autouse=True, scope="module")
def _helm() -> None:
    """Charts are rendered for real; and Linux alone gives every pod an address of its own."""
    if sys.platform != "linux":
        pytest.skip("pods have addresses of their own (127.x.y.z), which only Linux has")
    try:
        program("helm")
    except MissingProgram as missing:
        if must_be_there():
            raise
        pytest.skip(str(missing))


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """The pods have it for themselves."""
    return fresh_database


@pytest.fixture
def cluster_secrets(settings: Settings, database: TestDatabase, tmp_path: Path) -> dict[str, dict[str, str]]:
    """The Secrets that the application reads, with this test's servers in them."""
    keys = write_key_pair(tmp_path / "keys")
    return {
        "telemed-database": {
            "DATABASE_URL": database.services,
            # One address for all replicas, named once for each (decision 0018); here the primary plays them.
            "REPLICA_DATABASE_URLS": f"{database.services},{database.services}",
            "AUDITOR_DATABASE_URL": database.auditor,
            "WORKER_DATABASE_URL": database.worker,
            "OWNER_DATABASE_URL": database.owner,
        },
        "telemed-cache": {"REDIS_URL": settings.redis_address},
        "telemed-identity": {"PEPPER": "only-for-tests-" + "9" * 32, "JWT_SECRET": JWT_SECRET},
        "telemed-signing-key": {"private.pem": keys.private.read_text()},
        "telemed-verification-keys": {"public.pem": keys.public.read_text()},
    }


@pytest.fixture
def pods_folder() -> Iterator[Path]:
    """Where pods keep what is theirs: pytest's own folders let nobody else in."""
    with server_folder("telemed-pods-") as (folder, _):
        yield folder


@pytest.fixture
async def kubelet(pods_folder: Path, cluster_secrets: dict[str, dict[str, str]]) -> AsyncIterator[Kubelet]:
    """A kubelet with the rendered times."""
    async with kubelet_on(pods_folder, cluster_secrets) as running:
        yield running


@pytest.fixture
async def hasty_kubelet(pods_folder: Path, cluster_secrets: dict[str, dict[str, str]]) -> AsyncIterator[Kubelet]:
    """One for which five seconds between probes are one; what pods are told stays as rendered."""
    async with kubelet_on(pods_folder, cluster_secrets, speed=5) as running:
        yield running
