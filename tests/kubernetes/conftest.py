"""Some of these tests need kubectl and Helm."""

from pathlib import Path

import pytest
from tests.charts.programs import MissingProgram, must_be_there, program
from tests.kubernetes.scripts import cluster_in


@pytest.fixture(scope="session")
def programs() -> None:
    """Skip with the reason, or fail where the programs come with the environment."""
    try:
        for name in ("helm", "kubectl"):
            program(name)
    except MissingProgram as missing:
        if must_be_there():
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A cluster with both namespaces, and its kubectl first on the path."""
    return cluster_in(tmp_path)
