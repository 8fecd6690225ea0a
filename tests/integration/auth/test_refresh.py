"""Staying logged in, and finding thieves."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.auth.conftest import Account
from tests.support.people import Caller

from telemed.auth.sessions.operations import forget_ended_sessions
from telemed.auth.tokens.refresh import RefreshTokens
from telemed.kernel.clock import ManualClock
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings

GRACE = timedelta(seconds=10)


async def refresh(caller: Caller, token: str, **more: Any) -> tuple[int, dict[str, Any]]:
    reply = await caller.post("/auth/refresh", {"refresh_token": token}, **more)
    return reply.status_code, reply.json()


async def me(caller: Caller, tokens: dict[str, Any]) -> int:
    return (await Caller(caller.client, tokens["access_token"]).get("/auth/me")).status_code


async def test_refreshing_gives_the_next_tokens(home: Caller, tokens: dict[str, Any], clock: ManualClock) -> None:
    """Again and again, though each access token is short-lived."""
    current = tokens
    for _ in range(5):
        clock.advance(timedelta(minutes=30))
        assert await me(home, current) == 401
        status, following = await refresh(home, current["refresh_token"])
        assert status == 200
        assert following["refresh_token"] != current["refresh_token"]
        assert await me(home, following) == 200
        current = following


async def test_a_hundred_parallel_refreshes_are_one(home: Caller, tokens: dict[str, Any]) -> None:
    """All succeed with one successor; the family does not fork and nobody is logged out."""
    answers = await asyncio.gather(*(refresh(home, tokens["refresh_token"]) for _ in range(100)))
    assert {status for status, _ in answers} == {200}
    (successor,) = {body["refresh_token"] for _, body in answers}
    assert len({body["access_token"] for _, body in answers}) == 100
    assert {await me(home, body) for _, body in answers[:5]} == {200}
    assert (await refresh(home, successor))[0] == 200


async def test_a_lost_reply_can_be_had_again(home: Caller, tokens: dict[str, Any], clock: ManualClock) -> None:
    """For some seconds, the same successor."""
    _, first = await refresh(home, tokens["refresh_token"])
    clock.advance(GRACE)
    status, again = await refresh(home, tokens["refresh_token"])
    assert (status, again["refresh_token"]) == (200, first["refresh_token"])


async def test_under_its_key_a_lost_reply_can_be_had_for_longer(
    home: Caller, tokens: dict[str, Any], clock: ManualClock, owner: asyncpg.Connection
) -> None:
    """A retry under an idempotency key is no reuse, whenever it comes; the stored reply is sealed."""
    first = await home.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}, key="k")
    clock.advance(timedelta(hours=2))
    again = await home.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}, key="k")
    assert (again.status_code, again.content) == (200, first.content)
    stored = await owner.fetchval(
        "SELECT body FROM platform.idempotency_keys WHERE route = '/auth/refresh' ORDER BY created_at DESC LIMIT 1"
    )
    assert first.json()["refresh_token"].encode() not in stored


@pytest.mark.parametrize("how", ["too late", "successor used"])
async def test_a_used_token_ends_the_session(
    home: Caller, account: Account, tokens: dict[str, Any], clock: ManualClock, owner: asyncpg.Connection, how: str
) -> None:
    """Thief and holder are both out, at once, with their access tokens; the trail has it though the answer is 401."""
    _, following = await refresh(home, tokens["refresh_token"])
    if how == "too late":
        clock.advance(GRACE + timedelta(seconds=1))
    else:
        _, following = await refresh(home, following["refresh_token"])
    status, problem = await refresh(home, tokens["refresh_token"])
    assert (status, problem["type"]) == (401, "invalid-refresh-token")
    assert await me(home, following) == 401
    assert (await refresh(home, following["refresh_token"]))[0] == 401
    session = await owner.fetchrow("SELECT * FROM auth.sessions WHERE user_id = $1", UUID(account.id))
    assert session is not None
    assert session["revoked_because"] == "reuse"
    actions = await owner.fetch("SELECT action, outcome FROM audit.records WHERE entity_id = $1", session["id"])
    assert ("session.reuse_detected", "denied") in [tuple(row) for row in actions]
    events = await owner.fetch(
        "SELECT payload->>'reason' AS reason FROM platform.outbox"
        " WHERE type = 'user.sessions_revoked' AND payload->>'session_id' = $1",
        str(session["id"]),
    )
    assert [row["reason"] for row in events] == ["reuse"]


async def test_another_session_of_the_user_survives(
    home: Caller, account: Account, tokens: dict[str, Any], clock: ManualClock
) -> None:
    """A theft on one device does not log out the others."""
    other = (await home.post("/auth/login", account.right)).json()
    await refresh(home, tokens["refresh_token"])
    clock.advance(GRACE * 2)
    assert (await refresh(home, tokens["refresh_token"]))[0] == 401
    assert await me(home, other) == 200
    assert (await refresh(home, other["refresh_token"]))[0] == 200


async def test_a_race_of_thief_and_holder_does_not_fork_the_family(
    home: Caller, tokens: dict[str, Any], clock: ManualClock
) -> None:
    """Old and new token at the same time, many times: afterwards at most one token is current."""
    _, following = await refresh(home, tokens["refresh_token"])
    clock.advance(GRACE * 2)
    both = [tokens["refresh_token"], following["refresh_token"]] * 10
    answers = await asyncio.gather(*(refresh(home, token) for token in both))
    given = {body["refresh_token"] for status, body in answers if status == 200}
    assert len(given) <= 1
    for token in given | set(both):
        assert (await refresh(home, token))[0] == 401, "a reuse was among them: the session is over"


async def test_a_session_ends_by_itself(
    home: Caller, tokens: dict[str, Any], clock: ManualClock, settings: Settings
) -> None:
    """However often it is refreshed, and its last access token ends with it."""
    current = tokens
    for _ in range(3):
        clock.advance(timedelta(seconds=settings.refresh_token_seconds / 3 - 20))
        status, current = await refresh(home, current["refresh_token"])
        assert status == 200
    assert current["expires_in"] == 60
    clock.advance(timedelta(seconds=60))
    assert (await refresh(home, current["refresh_token"]))[0] == 401
    assert await me(home, current) == 401


async def test_forged_and_foreign_tokens_are_refused_alike(
    home: Caller, tokens: dict[str, Any], settings: Settings
) -> None:
    """Nothing tells why, and nothing happens to the session."""
    genuine = RefreshTokens(settings.secret)
    forged = [
        RefreshTokens(b"another secret").make(uuid7(), 0),
        genuine.make(uuid7(), 0),  # of a session that never was
        tokens["refresh_token"][:-1] + "!",
        tokens["access_token"],
        "x",
    ]
    answers = [await refresh(home, token) for token in forged]
    assert {status for status, _ in answers} == {401}
    assert len({str(body | {"trace_id": ""}) for _, body in answers}) == 1
    assert (await refresh(home, tokens["refresh_token"]))[0] == 200


async def test_the_database_holds_no_token(tokens: dict[str, Any], account: Account, owner: asyncpg.Connection) -> None:
    """A session's row is a count and some instants."""
    row = await owner.fetchrow("SELECT * FROM auth.sessions WHERE user_id = $1", UUID(account.id))
    assert row is not None
    assert tokens["refresh_token"] not in str(dict(row))
    assert set(dict(row)) == {
        "id", "user_id", "generation", "rotated_at", "created_at", "expires_at", "revoked_at", "revoked_because",
    }  # fmt: skip


async def test_ended_sessions_are_forgotten_after_a_day(
    home: Caller,
    account: Account,
    tokens: dict[str, Any],
    clock: ManualClock,
    owner: asyncpg.Connection,
    worker_resources: Resources,
    settings: Settings,
) -> None:
    """Not before every access token of theirs has expired, and by the worker's own role."""
    query = "SELECT count(*) FROM auth.sessions WHERE user_id = $1"
    await Caller(home.client, tokens["access_token"]).post("/auth/logout")
    clock.advance(timedelta(seconds=settings.refresh_token_seconds, hours=23))
    await forget_ended_sessions(worker_resources)
    assert await owner.fetchval(query, UUID(account.id)) == 1
    clock.advance(timedelta(hours=2))
    assert await forget_ended_sessions(worker_resources) > 0
    assert await owner.fetchval(query, UUID(account.id)) == 0
