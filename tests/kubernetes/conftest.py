"""Some of these tests need kubectl and Helm."""

import pytest
from tests.charts.programs import MissingProgram, must_be_there, program


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
