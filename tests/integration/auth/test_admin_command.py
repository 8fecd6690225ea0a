"""`telemed admin create`: the first administrator."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.integration.auth.conftest import PASSWORD, Account, new_email
from tests.support.commands import Finished, telemed
from tests.support.databases import TestDatabase
from tests.support.people import Caller
from tests.support.waiting import until

from telemed.auth.passwords.hashing import PasswordHashes
from telemed.auth.users.administration import WantedAccount, ensure_account
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings

WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""


async def create(settings: Settings, email: str, *more: str, stdin: str = PASSWORD + "\n") -> Finished:
    return await telemed(settings, "admin", "create", "--email", email, "--password-stdin", *more, stdin=stdin)


async def role_after_login(home: Caller, email: str, password: str = PASSWORD) -> str:
    reply: httpx.Response = await home.post("/auth/login", {"email": email, "password": password})
    assert reply.status_code == 200, reply.text
    role: str = (await Caller(home.client, reply.json()["access_token"]).get("/auth/me")).json()["role"]
    return role


async def test_the_first_administrator_can_log_in(home: Caller, settings: Settings, owner: asyncpg.Connection) -> None:
    """With the password from standard input, without its line's end; and it is in the trail."""
    email = new_email()
    done = await create(settings, email.upper(), "--full-name", "Root Admin")
    assert (done.code, done.output) == (0, f"{email} is an administrator; the account was made.\n")
    assert await role_after_login(home, email) == "admin"
    record = await owner.fetchrow(
        "SELECT r.action, r.actor_id FROM audit.records r JOIN auth.users u ON u.id = r.entity_id"
        " WHERE u.email = $1 ORDER BY r.id",
        email,
    )
    assert record is not None
    assert tuple(record) == ("user.register", None)


async def test_doing_it_again_changes_nothing(settings: Settings, owner: asyncpg.Connection) -> None:
    """The same hash, the same version, no new record."""
    email = new_email()
    await create(settings, email)
    query = "SELECT password_hash, version FROM auth.users WHERE email = $1"
    before = await owner.fetchrow(query, email)
    again = await create(settings, email, stdin=PASSWORD)
    assert (again.code, "nothing was changed" in again.output) == (0, True)
    assert await owner.fetchrow(query, email) == before


async def test_a_user_who_exists_is_promoted_and_gets_the_password(
    home: Caller, account: Account, tokens: dict[str, Any], settings: Settings, owner: asyncpg.Connection
) -> None:
    """Whoever registered the address before is out: the operator's password is the only one."""
    password = "seven green ladders in the rain"
    done = await create(settings, account.email, stdin=password)
    assert done.code == 0, done.errors
    assert (await Caller(home.client, tokens["access_token"]).get("/auth/me")).status_code == 401
    assert (await home.post("/auth/login", account.right)).status_code == 401
    assert await role_after_login(home, account.email, password) == "admin"
    actions = await owner.fetch("SELECT action FROM audit.records WHERE entity_id = $1", UUID(account.id))
    assert {"user.set_password", "user.change_role"} <= {row["action"] for row in actions}


async def test_a_login_under_way_does_not_outlive_its_password(
    home: Caller, account: Account, resources: Resources, owner: asyncpg.Connection
) -> None:
    """Whoever logs in again and again with the old password has no session left either, and learns nothing by it."""
    is_set, may_end = asyncio.Event(), asyncio.Event()
    wanted = WantedAccount(account.email, "Asha Rao", new_password_hash(resources), Role.ADMIN)

    async def set_and_wait(session: AsyncSession) -> None:
        await ensure_account(session, Act(now=resources.clock.now()), wanted)
        await session.flush()
        is_set.set()
        await may_end.wait()

    setting = asyncio.create_task(resources.db.transact(set_and_wait))
    await is_set.wait()
    login = asyncio.create_task(home.post("/auth/login", account.right))
    await until(lambda: owner.fetchval(WAITING))
    may_end.set()
    await setting

    reply, later = await login, await home.post("/auth/login", account.right)

    assert reply.status_code == 401, reply.text
    assert reply.json()["detail"] == later.json()["detail"]
    query = "SELECT outcome FROM audit.records WHERE action = 'session.login' AND entity_id = $1"
    outcomes = await owner.fetch(query, UUID(account.id))
    assert [row["outcome"] for row in outcomes] == ["failed", "failed"]


def new_password_hash(resources: Resources) -> str:
    return PasswordHashes(resources.settings.secret, cost=4).make("seven green ladders in the rain")


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["--email", "nobody", "--password-stdin"], PASSWORD, "--email: this is not an e-mail address"),
        (["--email", "a@example.com", "--password-stdin"], "short", "at least 15 characters"),
        (["--email", "a@example.com", "--password-stdin"], "", "at least 15 characters"),
        (["--email", "a@example.com", "--password-stdin"], "passwordpassword", "easy to guess"),
        (["--email", "a@example.com", "--password-stdin", "--full-name", " "], PASSWORD, "--full-name"),
        (["--email", "a@example.com"], PASSWORD, "--password-stdin"),
    ],
)
async def test_what_is_wrong_is_said_in_one_sentence(
    settings: Settings, arguments: list[str], stdin: str, sentence: str
) -> None:
    """Exit code 1, no traceback."""
    done = await telemed(settings, "admin", "create", *arguments, stdin=stdin)
    assert (done.code, done.errors.count("\n")) == (1, 1)
    assert done.errors.startswith("telemed: ")
    assert sentence in done.errors


async def test_a_database_that_is_not_there_is_said_in_one_sentence(settings: Settings) -> None:
    """The sentence names the setting."""
    nowhere = settings.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:1/nothing")})
    done = await create(nowhere, new_email())
    assert done.code == 1
    assert "DATABASE_URL" in done.errors
    assert "Traceback" not in done.errors


async def test_a_database_of_the_version_before_is_said_in_one_sentence(
    settings: Settings, fresh_database: TestDatabase
) -> None:
    """Tables it has, and not yet what this version calls."""
    superuser = await asyncpg.connect(fresh_database.superuser)
    await superuser.execute("DROP FUNCTION platform.write_ending")
    await superuser.close()
    older = settings.model_copy(update={"database_url": SecretStr(fresh_database.services)})
    done = await create(older, new_email())
    assert done.code == 1
    assert "run `telemed migrate` first" in done.errors
    assert "Traceback" not in done.errors
