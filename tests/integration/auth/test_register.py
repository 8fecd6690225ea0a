"""Making an account."""

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.integration.auth.conftest import Account, new_body, new_email
from tests.support.people import Caller

from telemed.auth.users.operations import NewUser, register_user
from telemed.kernel.acts import Act
from telemed.kernel.clock import ManualClock
from telemed.kernel.resources import Resources


async def test_registering_makes_a_patient(home: Caller) -> None:
    """The reply is the user, says where it is, and never the password."""
    body = new_body(phone="+91 98765 43210")
    reply = await home.post("/auth/register", body)
    assert reply.status_code == 201
    assert reply.headers["Location"] == "/auth/me"
    user = reply.json()
    assert UUID(user.pop("id")).version == 7
    assert user.pop("created_at") == "2026-11-23T08:00:00Z"
    assert user == {"email": body["email"], "full_name": "Asha Rao", "phone": "+91 98765 43210", "role": "patient"}


async def test_an_address_is_taken_in_any_spelling(home: Caller, account: Account) -> None:
    """Upper case does not make another account."""
    reply = await home.post("/auth/register", new_body(email=account.email.upper()))
    assert reply.status_code == 409
    assert reply.json()["type"] == "email-taken"


async def test_of_many_who_register_one_address_at_once_one_gets_it(home: Caller, owner: asyncpg.Connection) -> None:
    """The constraint decides, and the others are told the same as if they had come later."""
    email = new_email()
    replies = await asyncio.gather(*(home.post("/auth/register", new_body(email=email)) for _ in range(10)))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 9
    assert {reply.json()["type"] for reply in replies if reply.status_code == 409} == {"email-taken"}
    assert await owner.fetchval("SELECT count(*) FROM auth.users WHERE email = $1", email) == 1


async def test_the_constraint_decides_between_two_who_both_saw_the_address_free(
    resources: Resources, clock: ManualClock, owner: asyncpg.Connection
) -> None:
    """Hashing queues the requests of one process; those of several meet in the database only."""
    email = new_email()
    new = NewUser(email, "hashed elsewhere", "Asha Rao")
    racing = (resources.db.transact(register_user, Act(now=clock.now()), new) for _ in range(8))
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EmailTaken"] * 7 + ["User"]
    assert await owner.fetchval("SELECT count(*) FROM auth.users WHERE email = $1", email) == 1


@pytest.mark.parametrize("password", ["8 charac", "passwordpassword", "x" * 257, "Asha Rao Asha Rao"])
async def test_a_bad_password_is_refused_with_advice(home: Caller, password: str) -> None:
    """The problem names the field and says what would be better."""
    reply = await home.post("/auth/register", new_body(password=password))
    assert reply.status_code == 422
    (error,) = reply.json()["errors"]
    assert error["loc"] == ["body", "password"]
    assert len(error["msg"]) > 20
    assert password not in reply.text


@pytest.mark.parametrize("password", ["😀" * 64, "यह एक लंबा वाक्य है", "x!9" * 5 + "  spaces  around  "])
async def test_long_and_foreign_passwords_work(home: Caller, password: str) -> None:
    """What was registered logs in; 64 characters of four bytes among them."""
    body = new_body(password=password)
    assert (await home.post("/auth/register", body)).status_code == 201
    assert (await home.post("/auth/login", {"email": body["email"], "password": password})).status_code == 200
    shorter = {"email": body["email"], "password": password[:-1]}
    assert (await home.post("/auth/login", shorter)).status_code == 401


async def test_registering_leaves_a_record_and_an_event(account: Account, owner: asyncpg.Connection) -> None:
    """Both are there once the reply is."""
    record = await owner.fetchrow("SELECT * FROM audit.records WHERE entity_id = $1", UUID(account.id))
    assert record is not None
    assert (record["action"], record["outcome"]) == ("user.register", "allowed")
    event = await owner.fetchval("SELECT payload FROM platform.outbox WHERE payload->>'user_id' = $1", account.id)
    assert event == f'{{"user_id": "{account.id}"}}'


async def test_whoever_learns_that_an_address_has_an_account_is_in_the_trail(
    home: Caller, account: Account, owner: asyncpg.Connection
) -> None:
    """That somebody is a patient here is theirs to know; the record is about them, and says no address of mail."""
    refused = await home.post("/auth/register", new_body(email=account.email))
    record = await owner.fetchrow(
        "SELECT action, outcome, entity_id, patient_id, details FROM audit.records WHERE request_id = $1",
        refused.headers["X-Request-ID"],
    )
    assert refused.status_code == 409
    assert record is not None
    assert tuple(record)[:4] == ("user.register", "failed", UUID(account.id), UUID(account.id))
    assert json.loads(record["details"]) == {"reason": "email-taken"}


async def test_the_database_holds_no_password(account: Account, owner: asyncpg.Connection) -> None:
    """Only a hash at the cost of the deployment."""
    row = await owner.fetchrow("SELECT * FROM auth.users WHERE id = $1", UUID(account.id))
    assert row is not None
    assert row["password_hash"].startswith("$2b$04$")
    assert account.password not in str(dict(row))


async def test_a_repeated_registration_gets_its_reply_again(home: Caller) -> None:
    """Under its key, byte for byte; another body under the key is refused."""
    body = new_body()
    first = await home.post("/auth/register", body, key="r1")
    again = await home.post("/auth/register", body, key="r1")
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await home.post("/auth/register", body | {"full_name": "Somebody Else"}, key="r1")
    assert (other.status_code, other.json()["type"]) == (422, "key-reused")


async def test_a_key_belongs_to_who_used_it(home: Caller) -> None:
    """Two people with one key do not meet."""
    replies = [await home.post("/auth/register", new_body(), key="same") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json()["id"] != replies[1].json()["id"]


HOSTILE: list[Any] = ["\x00", "a\x00b", 7, None, [], {}, True, "x" * 100_000, "\n", "\u2028", ""]


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/refresh", "/auth/logout", "/auth/admin/role"])
async def test_hostile_values_in_every_field_are_refused(home: Caller, people: Any, path: str) -> None:
    """Whatever is sent, the answer is a problem of the caller's."""
    caller = await people.admin() if path == "/auth/admin/role" else home
    bodies: dict[str, dict[str, Any]] = {
        "/auth/register": new_body(phone="+91 98765 43210"),
        "/auth/login": {"email": new_email(), "password": "whatever"},
        "/auth/refresh": {"refresh_token": "x"},
        "/auth/logout": {"refresh_token": "x"},
        "/auth/admin/role": {"email": new_email(), "role": "doctor"},
    }
    may_be_null = {("/auth/register", "phone"), ("/auth/logout", "refresh_token")}
    for field in bodies[path]:
        for value in HOSTILE:
            if value is None and (path, field) in may_be_null:
                continue
            reply = await caller.post(path, bodies[path] | {field: value})
            assert 400 <= reply.status_code < 500, (field, str(value)[:20], reply.text)
            assert reply.headers["content-type"] == "application/problem+json"
        for raw in (b'"\\ud800"', b"NaN", b"1e999", b"[" * 10_000, b'"\xff"'):
            content = b'{"%s": %s}' % (field.encode(), raw)
            refused = await caller.request("POST", path, content=content)
            assert 400 <= refused.status_code < 500, (field, raw[:20], refused.text)


async def test_ten_megabytes_are_refused(home: Caller) -> None:
    """Before they are parsed."""
    reply: httpx.Response = await home.post("/auth/login", {"email": new_email(), "password": "x" * 10_000_000})
    assert reply.status_code == 413


async def test_unknown_fields_are_refused(home: Caller) -> None:
    """Nobody registers as an administrator by asking for it."""
    reply = await home.post("/auth/register", new_body(role="admin"))
    assert reply.status_code == 422
