import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.local.platform_process import PlatformProcess, processes_of
from tests.servers import server_folder

from telemed.local.processes import free_port, wait_until


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder that exists for one test."""
    with server_folder("telemed-home-") as (folder, _):
        yield folder / ".telemed"


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., PlatformProcess]]:
    """Starts platforms in the state folder; none outlives the test."""
    started: list[PlatformProcess] = []

    def start_platform(port: int | None = None, **scripts: str) -> PlatformProcess:
        started.append(PlatformProcess(home, port or free_port(), scripts))
        return started[-1]

    yield start_platform
    for platform in started:
        if platform.process.poll() is None:
            platform.stop(signal.SIGTERM)


@pytest.fixture
def leftovers(home: Path) -> Callable[[], dict[int, str]]:
    """Tells what runs out of the state folder, once what is just ending has had its time."""

    def settled() -> dict[int, str]:
        wait_until(lambda: not processes_of(home), within_seconds=20)
        return processes_of(home)

    return settled
