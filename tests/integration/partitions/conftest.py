import pytest
from tests.support.databases import TestDatabase


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database whose months nobody else makes and drops."""
    return fresh_database
