"""One run of the platform for all tests that look at what it left behind."""

import fcntl
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.observability.contract.gathering import Gathered, gather


@pytest.fixture(scope="session")
def gathered(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Gathered:
    """What one run of the whole platform has left everywhere."""
    folder = tmp_path_factory.mktemp("gathered")
    if worker_id == "master":
        return gather(folder)
    # Workers of xdist look at the same run; whoever comes first makes it.
    kept = tmp_path_factory.getbasetemp().parent / "gathered.pickle"
    with _alone(kept.with_suffix(".lock")):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(gather(folder)))
    found: Gathered = pickle.loads(kept.read_bytes())  # noqa: S301 - written above, by this very run
    return found


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
