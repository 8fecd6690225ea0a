"""The beginning of a write: who comes, their key and the reply under it, in one statement that overlooks nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import value_of
from tests.support.databases import TestDatabase
from tests.support.people import People, User
from tests.support.settings import NOW
from tests.support.waiting import until

from telemed.contracts.entrance import enter
from telemed.contracts.roles import Role
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.identity import Claims
from telemed.kernel.problems import KeyInProgress, KeyReused
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.spans import Kind, Sketch, look_at, look_away

UntilABackend = Callable[[str], Awaitable[None]]
REPLY = Reply(201, b"done", {})


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """Tables that a test may lock."""
    return fresh_database


@pytest.fixture
async def until_a_backend(database: TestDatabase) -> AsyncIterator[UntilABackend]:
    """Waits until a backend of this database waits for this."""
    connection = await asyncpg.connect(database.superuser)

    async def until_a_backend_waits(what: str) -> None:
        statement = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = $1"
        await until(lambda: connection.fetchval(statement, what))

    yield until_a_backend_waits
    await connection.close()


def once(caller: str = "caller", *, request_hash: bytes = b"hash") -> Once:
    return Once(caller, "POST", "/things", "k", request_hash)


def claims(resources: Resources, user: User) -> Claims:
    return resources.verifier.verify(str(user.token), now=NOW)


async def keep(resources: Resources, reply: Reply = REPLY) -> None:
    async def operation(session: AsyncSession) -> None:
        once().keep(session, reply, now=NOW)

    await resources.db.transact(operation)


async def test_a_reply_that_is_committed_between_snapshot_and_claim_is_found(
    resources: Resources, people: People, owner: asyncpg.Connection, until_a_backend: UntilABackend
) -> None:
    """The statement begins, and with it its snapshot; then the reply is committed, the key is free, and it claims."""
    caller = claims(resources, await people.patient())
    async with owner.transaction():
        await owner.execute("LOCK TABLE auth.users IN ACCESS EXCLUSIVE MODE")
        late = asyncio.create_task(resources.db.transact(enter, caller, once()))
        await until_a_backend("relation")
        await keep(resources)
    entrance = await late
    assert entrance.role == "patient"
    reply = entrance.reply()
    assert reply is not None
    assert (reply.body, reply.is_replayed) == (b"done", True)


async def test_of_two_requests_that_overlap_so_the_second_is_a_replay(
    people: People, counters: str, owner: asyncpg.Connection, until_a_backend: UntilABackend
) -> None:
    """As clients see it: the first is at work, the second has begun to enter, and comes in when the first has gone."""
    patient = await people.patient()

    async def send() -> httpx.Response:
        return await patient.post("/tiny/one", {"by": 1, "end": "slow"}, key="k")

    first = asyncio.create_task(send())
    await until_a_backend("PgSleep")
    async with owner.transaction():
        await owner.execute("LOCK TABLE auth.users IN ACCESS EXCLUSIVE MODE")
        again = asyncio.create_task(send())
        await until_a_backend("relation")
        done = await first
    replayed = await again
    assert (done.status_code, replayed.status_code) == (201, 201)
    assert replayed.content == done.content
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert await value_of(owner, counters, 1) == 1


async def test_a_claim_is_held_to_the_end_of_the_transaction_and_no_longer(resources: Resources) -> None:
    """Also when nothing else was said to the server before; whoever comes meanwhile is told to wait."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold(session: AsyncSession) -> None:
        assert (await enter(session, None, once())).reply() is None
        entered.set()
        await leave.wait()

    async def try_it(session: AsyncSession) -> Reply | None:
        return (await enter(session, None, once())).reply()

    holder = asyncio.create_task(resources.db.transact(hold))
    await entered.wait()
    with pytest.raises(KeyInProgress):
        await resources.db.transact(try_it)
    leave.set()
    await holder
    assert await resources.db.transact(try_it) is None


async def test_another_request_under_the_key_is_refused(resources: Resources) -> None:
    """Found in the same round trip."""
    await keep(resources)
    entrance = await resources.db.transact(enter, None, once(request_hash=b"other"))
    with pytest.raises(KeyReused):
        entrance.reply()


async def test_who_is_not_let_in_claims_nothing(
    resources: Resources, people: People, owner: asyncpg.Connection
) -> None:
    """A wrong role, an ended session, nobody: their request is in nobody's way, and they are given nothing."""
    patient, ended = [claims(resources, user) for user in await people.patients(2)]
    await owner.execute(
        "UPDATE auth.sessions SET revoked_at = now(), revoked_because = 'test' WHERE id = $1", ended.session_id
    )
    await keep(resources)
    for caller, role, admitted in (
        (patient, "patient", {Role.DOCTOR, Role.ADMIN}),
        (ended, None, set(Role)),
        (replace(patient, user_id=UUID(int=1)), None, set(Role)),
    ):
        entrance = await resources.db.transact(enter, caller, once(), admitted=admitted)
        assert entrance.role == role
        assert entrance.found is not None
        assert [entrance.found[name] for name in ("is_claimed", "kept_status", "kept_body")] == [None] * 3


async def test_whatever_their_role_a_denial_is_kept_under_the_key(resources: Resources, people: People) -> None:
    """Without a list of those who are admitted the key is claimed, by whomever."""
    patient = claims(resources, await people.patient())
    for caller in (patient, replace(patient, user_id=UUID(int=1))):
        entrance = await resources.db.transact(enter, caller, once())
        assert entrance.found is not None
        assert entrance.found["is_claimed"]


async def test_who_may_not_come_in_is_told_so_and_not_that_the_key_is_busy(
    people: People, resources: Resources, owner: asyncpg.Connection, until_a_backend: UntilABackend
) -> None:
    """First who comes, then their key: the order in which a write is refused is part of the API."""
    patient = await people.patient()
    running = asyncio.create_task(patient.post("/tiny/one", {"by": 1, "end": "slow"}, key="k"))
    await until_a_backend("PgSleep")
    assert (await patient.post("/tiny/one", {"by": 1}, key="k")).json()["type"] == "key-in-progress"
    await owner.execute("UPDATE auth.sessions SET revoked_at = now(), revoked_because = 'test'")
    assert (await patient.post("/tiny/one", {"by": 1}, key="k")).json()["type"] == "not-authenticated"
    assert (await running).status_code == 201


async def test_nobody_without_a_key_is_asked_for_nothing(resources: Resources) -> None:
    """An anonymous write without a key needs no round trip to come in."""
    sketch = Sketch()
    token = look_at(sketch)
    entrance = await resources.db.transact(enter, None, None)
    look_away(token)
    assert (entrance.role, entrance.reply()) == (None, None)
    assert [note.name for note in sketch.notes if note.kind is Kind.CLIENT] == ["COMMIT"]
