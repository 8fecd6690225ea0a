"""Data sets for tests: the smallest there are, on a database of their own."""

from collections.abc import Callable

import pytest
from tests.support.databases import TestDatabase
from tests.support.settings import NOW

from dataset import loading
from dataset.cast import PASSWORD
from dataset.plan import SMALLEST, Plan
from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.passwords.rules import normalised_password
from telemed.kernel.settings import Settings

PLAN = Plan(SMALLEST, seed=7, now=NOW)


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A migrated database without any row."""
    return fresh_database


@pytest.fixture
def password_hash(settings: Settings) -> str:
    """What everybody's password is stored as."""
    return PasswordHashes(settings.secret, cost=settings.bcrypt_cost).make(normalised_password(PASSWORD))


@pytest.fixture
def quietly() -> Callable[[str, int], None]:
    """Show no progress."""
    return lambda _what, _done: None


@pytest.fixture
async def loaded(
    database: TestDatabase, password_hash: str, quietly: loading.Report, monkeypatch: pytest.MonkeyPatch
) -> Plan:
    """A data set that was loaded the way a large one is."""
    monkeypatch.setattr(loading, "REBUILT_FROM", 1)
    await loading.load(database.owner, PLAN, password_hash, quietly)
    return PLAN
