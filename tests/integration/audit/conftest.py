"""A trail of one's own: the chain takes in whatever is there."""

import pytest
from tests.support.databases import TestDatabase


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A database that no other test's records are in."""
    return fresh_database
