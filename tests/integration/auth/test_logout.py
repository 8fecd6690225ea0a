"""Logging out."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.integration.auth.conftest import Account
from tests.support.people import Caller

from telemed.kernel.clock import ManualClock


@pytest.mark.parametrize("how", ["header", "header and empty object", "refresh token", "both"])
async def test_logging_out_ends_the_session(home: Caller, tokens: dict[str, Any], how: str) -> None:
    """With either token, access and refresh token are worthless from then on; doing it again is fine."""
    holder = Caller(home.client, tokens["access_token"])
    caller = home if how == "refresh token" else holder
    body = {"refresh_token": tokens["refresh_token"]} if how in {"refresh token", "both"} else None
    if how == "header and empty object":
        body = {}
    for _ in range(2):
        reply = await caller.post("/auth/logout", body)
        assert (reply.status_code, reply.content) == (204, b"")
    assert (await holder.get("/auth/me")).status_code == 401
    assert (await home.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})).status_code == 401


async def test_other_sessions_stay(home: Caller, account: Account, tokens: dict[str, Any]) -> None:
    """Logging out on one device is not logging out everywhere."""
    other = (await home.post("/auth/login", account.right)).json()
    await Caller(home.client, tokens["access_token"]).post("/auth/logout")
    assert (await Caller(home.client, other["access_token"]).get("/auth/me")).status_code == 200


async def test_without_a_token_nobody_is_logged_out(home: Caller, tokens: dict[str, Any]) -> None:
    """No token, a forged one and an expired one are three 401s."""
    assert (await home.post("/auth/logout")).json()["type"] == "not-authenticated"
    assert (await home.post("/auth/logout", {"refresh_token": "x"})).json()["type"] == "invalid-refresh-token"
    forged = Caller(home.client, tokens["access_token"][:-2] + "AA")
    assert (await forged.post("/auth/logout")).status_code == 401


async def test_an_old_access_token_needs_the_refresh_token(
    home: Caller, tokens: dict[str, Any], clock: ManualClock
) -> None:
    """Whoever comes back later logs out with the refresh token, or gets a new access token first."""
    clock.advance(timedelta(hours=1))
    assert (await Caller(home.client, tokens["access_token"]).post("/auth/logout")).status_code == 401
    assert (await home.post("/auth/logout", {"refresh_token": tokens["refresh_token"]})).status_code == 204


async def test_a_logout_leaves_one_record_and_one_event(
    home: Caller, account: Account, tokens: dict[str, Any], owner: asyncpg.Connection
) -> None:
    """However often it is asked for."""
    holder = Caller(home.client, tokens["access_token"])
    for _ in range(3):
        await holder.post("/auth/logout")
    records = await owner.fetch(
        "SELECT actor_id FROM audit.records WHERE action = 'session.logout' AND actor_id::text = $1", account.id
    )
    events = await owner.fetch(
        "SELECT payload->>'reason' FROM platform.outbox"
        " WHERE type = 'user.sessions_revoked' AND payload->>'user_id' = $1",
        account.id,
    )
    assert (len(records), [row[0] for row in events]) == (1, ["logout"])


async def test_a_logout_under_a_key_is_replayed(home: Caller, tokens: dict[str, Any]) -> None:
    """Like every write."""
    holder = Caller(home.client, tokens["access_token"])
    first, again = [await holder.post("/auth/logout", key="out") for _ in range(2)]
    assert (first.status_code, again.status_code) == (204, 204)
    assert again.headers["Idempotency-Replayed"] == "true"
