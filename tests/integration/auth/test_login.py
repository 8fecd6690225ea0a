"""Logging in."""

import asyncio
import time
from typing import Any
from uuid import UUID

import asyncpg
import bcrypt
import jwt
import pytest
from tests.integration.auth.conftest import Account, new_email
from tests.support.people import Caller

from telemed.auth.passwords.hashing import PasswordHashes
from telemed.kernel.identity import hs256_key
from telemed.kernel.resources import Resources
from telemed.kernel.settings import Settings


async def test_logging_in_gives_tokens(home: Caller, account: Account) -> None:
    """The access token is good for its seconds, and the reply is not to be cached."""
    reply = await home.post("/auth/login", account.right | {"email": account.email.upper()})
    assert reply.status_code == 200
    assert reply.headers["Cache-Control"] == "no-store"
    body = reply.json()
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 600)
    me = await Caller(home.client, body["access_token"]).get("/auth/me")
    assert (me.status_code, me.json()["id"]) == (200, account.id)


async def test_an_access_token_says_who_and_not_what(tokens: dict[str, Any], settings: Settings) -> None:
    """Every claim that a verifier checks is there; the role is not."""
    header = jwt.get_unverified_header(tokens["access_token"])
    claims = jwt.decode(
        tokens["access_token"],
        hs256_key(settings),
        algorithms=["HS256"],
        audience=settings.jwt_audience,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert (header["typ"], header["alg"], len(header["kid"])) == ("at+jwt", "HS256", 16)
    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"}
    assert claims["exp"] - claims["iat"] == settings.access_token_seconds


async def test_an_unknown_address_is_answered_like_a_wrong_password(home: Caller, account: Account) -> None:
    """Status, headers and body are the same but for the request's own ids."""
    wrong = await home.post("/auth/login", account.wrong)
    unknown = await home.post("/auth/login", {"email": new_email(), "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() | {"trace_id": ""} == unknown.json() | {"trace_id": ""}
    assert wrong.json()["type"] == "invalid-credentials"
    varying = {"x-request-id"}
    assert {k: v for k, v in wrong.headers.items() if k not in varying} == {
        k: v for k, v in unknown.headers.items() if k not in varying
    }


async def test_an_unknown_address_costs_a_hash_too(
    home: Caller, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same number of hashes of the same cost is computed, so the time tells nothing."""
    computed: list[str] = []
    checkpw = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        computed.append(hashed[:7].decode())
        return checkpw(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    await home.post("/auth/login", account.wrong)
    known, computed = computed, []
    await home.post("/auth/login", {"email": new_email(), "password": "wrong"})
    assert known == computed == ["$2b$04$"]


async def test_every_attempt_leaves_a_record_and_is_counted(
    home: Caller, account: Account, owner: asyncpg.Connection, resources: Resources
) -> None:
    """Success and failure, with the user if there is one."""
    for body in (account.right, account.wrong):
        await home.post("/auth/login", body)
    records = await owner.fetch(
        "SELECT outcome, actor_id, details FROM audit.records"
        " WHERE action = 'session.login' AND entity_id = $1 ORDER BY id",
        UUID(account.id),
    )
    assert [(r["outcome"], r["actor_id"]) for r in records] == [("allowed", UUID(account.id)), ("failed", None)]
    counts = {
        s.labels["outcome"]: s.value
        for m in resources.metrics.logins.collect()
        for s in m.samples
        if s.name.endswith("_total")
    }
    assert counts == {"allowed": 1, "failed": 1, "throttled": 0, "overloaded": 0}


async def test_a_failure_for_nobody_is_recorded_without_the_address(home: Caller, owner: asyncpg.Connection) -> None:
    """The trail holds no mail that somebody typed."""
    email = new_email()
    reply = await home.post("/auth/login", {"email": email, "password": "wrong"})
    record = await owner.fetchrow("SELECT * FROM audit.records WHERE request_id = $1", reply.headers["X-Request-ID"])
    assert record is not None
    assert (record["outcome"], record["entity_id"]) == ("failed", None)
    assert email not in str(dict(record))


async def test_a_hash_of_an_old_cost_is_replaced_at_login(
    home: Caller, account: Account, owner: asyncpg.Connection, resources: Resources
) -> None:
    """Raising the cost reaches everybody who comes by."""
    stronger = PasswordHashes(resources.settings.secret, cost=5).make(account.password)
    await owner.execute("UPDATE auth.users SET password_hash = $1 WHERE id = $2", stronger, UUID(account.id))
    assert (await home.post("/auth/login", account.right)).status_code == 200
    query = "SELECT password_hash FROM auth.users WHERE id = $1"
    assert await owner.fetchval(query, UUID(account.id)) == stronger, "a higher cost than today's stays"


async def test_a_repeated_login_gets_the_same_tokens_and_the_database_none(
    home: Caller, account: Account, owner: asyncpg.Connection
) -> None:
    """A reply that was lost is given again under its key; what is stored of it is sealed."""
    first = await home.post("/auth/login", account.right, key="l1")
    again = await home.post("/auth/login", account.right, key="l1")
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    sessions = await owner.fetchval("SELECT count(*) FROM auth.sessions WHERE user_id = $1", UUID(account.id))
    assert sessions == 1
    stored = await owner.fetch("SELECT body FROM platform.idempotency_keys WHERE key = 'l1' AND route = '/auth/login'")
    assert stored
    assert all(first.json()["refresh_token"].encode() not in row["body"] for row in stored)
    assert all(b"access_token" not in row["body"] for row in stored)


async def test_a_key_is_no_way_around_the_password(home: Caller, account: Account) -> None:
    """Whoever knows the key of a login learns nothing from it, and is counted like everybody."""
    await home.post("/auth/login", account.right, key="l1")
    replies = [await home.post("/auth/login", account.wrong, key="l1") for _ in range(11)]
    assert [reply.status_code for reply in replies] == [401] * 10 + [429]


async def test_no_transaction_is_open_while_a_password_is_hashed(
    home: Caller, account: Account, owner: asyncpg.Connection, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a storm of logins would hold every connection."""
    in_use: list[float] = []
    checkpw = bcrypt.checkpw

    def watched(password: bytes, hashed: bytes) -> bool:
        in_use.append(sum(sample.value for sample in next(iter(resources.metrics.pool_in_use.collect())).samples))
        return checkpw(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", watched)
    assert (await home.post("/auth/login", account.right)).status_code == 200
    assert in_use == [0.0]


async def test_a_login_storm_is_shed_and_leaves_nothing_behind(
    settings: Settings, home: Caller, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into the queue is refused with a time to wait, and is not counted as a failure."""
    checkpw = bcrypt.checkpw

    def slower(password: bytes, hashed: bytes) -> bool:
        time.sleep(0.02)
        return checkpw(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", slower)
    replies = await asyncio.gather(*(home.post("/auth/login", account.right) for _ in range(80)))
    statuses = {status: sum(reply.status_code == status for reply in replies) for status in (200, 429, 503)}
    assert statuses[200] + statuses[429] + statuses[503] == 80
    assert statuses[503] > 0
    assert all(int(reply.headers["Retry-After"]) >= 1 for reply in replies if reply.status_code == 503)
    assert (await home.post("/auth/login", account.right)).status_code == 200
