"""Clients at addresses of their own, and people who registered the way everybody does."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp
from tests.support.people import Caller

from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

PASSWORD = "four cats under one umbrella"


@dataclass
class Account:
    """Somebody with a password."""

    email: str
    password: str
    id: str

    @property
    def right(self) -> dict[str, str]:
        """The body of a login that succeeds."""
        return {"email": self.email, "password": self.password}

    @property
    def wrong(self) -> dict[str, str]:
        """The body of a login that fails."""
        return {"email": self.email, "password": "wrong"}


def new_email() -> str:
    return f"person.{secrets.token_hex(8)}@example.com"


def new_body(**changes: Any) -> dict[str, Any]:
    """The body of a registration that succeeds."""
    return {"email": new_email(), "password": PASSWORD, "full_name": "Asha Rao"} | changes


At = Callable[[str], Awaitable[Caller]]


@pytest.fixture
async def at(app: ASGIApp) -> AsyncIterator[At]:
    """Makes callers who call from a given address."""
    async with AsyncExitStack() as stack:

        async def caller(address: str) -> Caller:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40_000))
            return Caller(
                await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://telemed.test"))
            )

        yield caller


@pytest.fixture
async def home(at: At) -> Caller:
    """A caller at an address that no other test uses."""
    return await at(unused_address())


def unused_address() -> str:
    return "10." + ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))


@pytest.fixture
async def account(home: Caller) -> Account:
    """Somebody who registered from `home`."""
    body = new_body()
    reply = await home.post("/auth/register", body)
    assert reply.status_code == 201, reply.text
    return Account(body["email"], body["password"], reply.json()["id"])


@pytest.fixture
async def tokens(home: Caller, account: Account) -> dict[str, Any]:
    """The reply to a login of `account` from `home`."""
    reply = await home.post("/auth/login", account.right)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


@pytest.fixture
async def worker_resources(settings: Settings, clock: ManualClock) -> AsyncIterator[Resources]:
    """What the worker's jobs run with: its role in the database, and the time of the test."""
    async with open_resources(
        settings, constraint_problems={}, clock=clock, database=settings.worker_database
    ) as resources:
        yield resources
