"""Raising the cost of hashes."""

from uuid import UUID

import asyncpg
import pytest
from tests.integration.auth.conftest import Account
from tests.support.databases import TestDatabase
from tests.support.people import Caller
from tests.support.settings import make_settings

from telemed.auth.passwords.hashing import PasswordHashes, cost_of
from telemed.kernel.settings import Settings


@pytest.fixture
def settings(database: TestDatabase, redis_url: str) -> Settings:
    return make_settings(database, redis_url, bcrypt_cost=5)


async def test_a_hash_of_an_old_cost_is_replaced_at_the_next_login(
    home: Caller, account: Account, owner: asyncpg.Connection, settings: Settings
) -> None:
    """Not by a wrong password, only by the right one; and the password stays the same."""
    query = "SELECT password_hash FROM auth.users WHERE id = $1"
    old = PasswordHashes(settings.secret, cost=4).make(account.password)
    await owner.execute("UPDATE auth.users SET password_hash = $1 WHERE id = $2", old, UUID(account.id))
    assert (await home.post("/auth/login", account.wrong)).status_code == 401
    assert await owner.fetchval(query, UUID(account.id)) == old
    assert (await home.post("/auth/login", account.right)).status_code == 200
    assert cost_of(await owner.fetchval(query, UUID(account.id))) == 5
    assert (await home.post("/auth/login", account.right)).status_code == 200
