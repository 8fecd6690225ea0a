"""What the tests of the charts stand on: without Helm there is nothing to look at."""

import pytest
from tests.charts.programs import MissingProgram, must_be_there, program


@pytest.fixture(autouse=True, scope="session")
def programs() -> None:
    """Skip these tests with the reason, or fail them where the programs come with the environment."""
    try:
        for name in ("helm", "helm3", "kubectl"):
            program(name)
    except MissingProgram as missing:
        if must_be_there():
            pytest.fail(str(missing))
        pytest.skip(str(missing))
