"""What a transaction leaves behind is there if, and only if, it is committed: records, events and stored replies."""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import OpenDatabase, TooMuch, add, refused_at_commit, value_of
from tests.support.databases import TestDatabase
from tests.support.proxy import Proxy, proxy_to, through
from tests.support.settings import NOW

from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.database import Database
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.direct import Direct, StatementFailed
from telemed.kernel.engine import Session
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.problems import DeadlineExceeded, OutcomeUnknown, Unavailable
from telemed.kernel.telemetry.spans import Kind, Sketch, look_at, look_away

ACT = Act(NOW, Actor(UUID(int=1), "doctor"), "request-1", "trace-1", "00-trace", "10.0.0.1")
ODD = {"umlaut": "ä“\\", "number": 1, "none": None}
REPLY = Reply(201, b"\x00body", {"Location": "/é"})


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A trail and an outbox of one's own."""
    return fresh_database


@pytest.fixture
async def proxy(database: TestDatabase) -> AsyncIterator[Proxy]:
    """What stands between the code and its database."""
    async with proxy_to(database.servers.port) as made:
        yield made


def entry(number: int) -> AuditEntry:
    return AuditEntry("thing.do", "thing", UUID(int=number), UUID(int=8), details=ODD)


def event(number: int) -> Event:
    return Event("thing.done", UUID(int=number), 1, ODD)


def once(key: str = "k") -> Once:
    return Once("caller", "POST", "/things", key, b"hash")


async def leave(
    transaction: AsyncSession | Direct, *, records: int = 1, events: int = 1, replies: int = 1, first: int = 1
) -> None:
    """Operation: leave so much behind."""
    await append_audit(transaction, ACT, *(entry(first + n) for n in range(records)))
    await append_events(transaction, ACT, *(event(first + n) for n in range(events)))
    for n in range(replies):
        once(f"key-{first + n}").keep(transaction, REPLY, now=NOW)


async def count_and_leave(session: AsyncSession, counters: str) -> int:
    """Operation: have an effect as well."""
    await leave(session)
    return await add(session, counters, 1)


async def left(owner: asyncpg.Connection) -> tuple[int, int, int, int]:
    """Count records, those of them that the chain will take in, events and replies."""
    tables = ("audit.records", "audit.unchained", "platform.outbox", "platform.idempotency_keys")
    return tuple([int(await owner.fetchval(f"SELECT count(*) FROM {table}")) for table in tables])  # type: ignore[return-value]


async def rows(owner: asyncpg.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await owner.fetch(f"SELECT * FROM {table}")]


async def test_what_is_collected_is_written_as_it_was_given(db: Database, owner: asyncpg.Connection) -> None:
    """Column by column, whatever is in it."""
    await db.transact(leave)
    (record,) = await rows(owner, "audit.records")
    assert record.pop("id").version == 7
    assert record == {
        "recorded_at": NOW,
        "actor_id": UUID(int=1),
        "actor_role": "doctor",
        "action": "thing.do",
        "outcome": "allowed",
        "entity_type": "thing",
        "entity_id": UUID(int=1),
        "patient_id": UUID(int=8),
        "request_id": "request-1",
        "trace_id": "trace-1",
        "client_address": "10.0.0.1",
        "details": '{"none": null, "number": 1, "umlaut": "ä“\\\\"}',
    }
    (sent,) = await rows(owner, "platform.outbox")
    undelivered = dict.fromkeys(("last_error", "parked_at", "delivered_at"))
    assert sent == undelivered | {
        "id": event(1).id,
        "type": "thing.done",
        "payload": '{"none": null, "number": 1, "umlaut": "ä“\\\\"}',
        "traceparent": "00-trace",
        "occurred_at": NOW,
        "available_at": NOW,
        "attempts": 0,
    }
    (kept,) = await rows(owner, "platform.idempotency_keys")
    assert kept == {
        "caller": "caller",
        "method": "POST",
        "route": "/things",
        "key": "key-1",
        "request_hash": b"hash",
        "status": 201,
        "headers": '{"Location": "/é"}',
        "body": b"\x00body",
        "created_at": NOW,
    }


@pytest.mark.parametrize(
    ("records", "events", "replies"), [(1, 1, 1), (3, 2, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0), (700, 700, 1)]
)
@pytest.mark.parametrize("is_direct", [False, True])
async def test_any_number_of_each(
    db: Database, owner: asyncpg.Connection, records: int, events: int, replies: int, is_direct: bool
) -> None:
    """Of sessions and of direct transactions; none of one kind is no row of it."""
    transact = db.transact_directly if is_direct else db.transact
    await transact(leave, records=records, events=events, replies=replies)
    assert await left(owner) == (records, records, events, replies)


async def test_records_keep_their_order(db: Database, owner: asyncpg.Connection) -> None:
    """They are written in the order in which they were appended, however often."""

    async def two(session: AsyncSession) -> None:
        await leave(session, records=3)
        await leave(session, records=3, first=10)

    await db.transact(two)
    found = await owner.fetch("SELECT entity_id FROM audit.records ORDER BY ctid")
    assert [row[0].int for row in found] == [1, 2, 3, 10, 11, 12]


@pytest.mark.parametrize("is_direct", [False, True])
async def test_an_operation_that_raises_leaves_nothing(
    db: Database, counters: str, owner: asyncpg.Connection, is_direct: bool
) -> None:
    """Neither now nor with the next transaction on its connection."""

    async def fail(transaction: AsyncSession | Direct) -> None:
        await leave(transaction)
        raise TooMuch

    for _ in range(5):
        with pytest.raises(TooMuch):
            await (db.transact_directly(fail) if is_direct else db.transact(fail))
    await db.transact(add, counters, 1)
    assert await left(owner) == (0, 0, 0, 0)


async def test_what_the_session_has_pending_goes_first(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A violated constraint of the effect is what the caller hears of, and nothing is left of either."""
    db = await open_database(constraint_problems={f"{counters.removeprefix('platform.')}_small": TooMuch})

    async def too_much(session: AsyncSession) -> None:
        await leave(session)
        await add(session, counters, 1, 2000)

    with pytest.raises(TooMuch):
        await db.transact(too_much)
    assert await left(owner) == (0, 0, 0, 0)


async def test_a_lost_race_that_is_run_again_leaves_everything_once(
    db: Database, owner: asyncpg.Connection, counters: str
) -> None:
    """What the first attempt had collected went with it."""
    attempts = 0

    async def lose_twice(session: AsyncSession) -> None:
        nonlocal attempts
        attempts += 1
        await count_and_leave(session, counters)
        if attempts < 3:
            await session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

    await db.transact(lose_twice)
    assert attempts == 3
    assert await left(owner) == (1, 1, 1, 1)
    assert await value_of(owner, counters, 1) == 1


async def test_a_race_that_is_lost_at_the_end_is_run_again(db: Database, owner: asyncpg.Connection) -> None:
    """Wherever the server says so."""
    await owner.execute("CREATE SEQUENCE platform.tries")
    await owner.execute("GRANT ALL ON SEQUENCE platform.tries TO telemed_services")
    await owner.execute(
        """
        CREATE FUNCTION audit.lose_once() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF nextval('platform.tries') = 1 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$
        """
    )
    await owner.execute(
        "CREATE TRIGGER lost BEFORE INSERT ON audit.records FOR EACH ROW EXECUTE FUNCTION audit.lose_once()"
    )
    await db.transact(leave)
    assert await left(owner) == (1, 1, 1, 1)
    assert db._metrics.transactions.labels("retried")._value.get() == 1


async def test_a_constraint_that_is_violated_at_the_end_becomes_its_problem(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A second reply under a key: the effect is undone, whoever has a word for it is heard."""

    async def twice(session: AsyncSession) -> None:
        await add(session, counters, 1)
        await leave(session, events=0)

    name = await owner.fetchval(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'platform.idempotency_keys'::regclass AND contype = 'p'"
    )
    for problems, raised in (({}, StatementFailed), ({name: TooMuch}, TooMuch)):
        db = await open_database(constraint_problems=problems)
        if not problems:
            await db.transact(twice)
        with pytest.raises(raised) as failed:
            await db.transact(twice)
        assert "caller" not in str(failed.value), "a failure says nothing of the row"
    assert await left(owner) == (1, 1, 0, 1)
    assert await value_of(owner, counters, 1) == 1


async def test_a_commit_that_is_refused_leaves_nothing(
    open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """A constraint that is checked there is a definite no to all of it."""
    db = await open_database(constraint_problems={await refused_at_commit(owner, counters, 1): TooMuch})
    with pytest.raises(TooMuch):
        await db.transact(count_and_leave, counters)
    assert await left(owner) == (0, 0, 0, 0)
    assert await value_of(owner, counters, 1) == 0


@pytest.mark.parametrize("is_direct", [False, True])
async def test_a_connection_that_breaks_while_the_ending_is_written_is_a_definite_no(
    proxy: Proxy,
    database: TestDatabase,
    open_database: OpenDatabase,
    counters: str,
    owner: asyncpg.Connection,
    is_direct: bool,
) -> None:
    """COMMIT has not been sent, so nothing was done, and the caller may be told so."""
    db = await open_database(through(proxy, database.services))
    await db.transact(add, counters, 2)

    async def directly(direct: Direct) -> None:
        await direct.change(f"UPDATE {counters} SET value = value + 1 WHERE id = 1 RETURNING value")
        await leave(direct)

    proxy.cut_after = b"write_ending"
    with pytest.raises(Unavailable):
        await (db.transact_directly(directly) if is_direct else db.transact(count_and_leave, counters))
    proxy.cut_after = None
    assert await left(owner) == (0, 0, 0, 0)
    assert await value_of(owner, counters, 1) == 0
    assert db._metrics.transactions.labels("unknown")._value.get() == 0
    await db.transact(count_and_leave, counters)
    assert await left(owner) == (1, 1, 1, 1)


async def test_a_connection_that_breaks_during_commit_is_unknown(
    proxy: Proxy, database: TestDatabase, open_database: OpenDatabase, counters: str, owner: asyncpg.Connection
) -> None:
    """Effect and ending are both there, or neither; here both."""
    db = await open_database(through(proxy, database.services))
    await db.transact(add, counters, 2)
    proxy.cut_after = b"COMMIT"
    with pytest.raises(OutcomeUnknown):
        await db.transact(count_and_leave, counters)
    proxy.cut_after = None
    assert await left(owner) == (1, 1, 1, 1)
    assert await value_of(owner, counters, 1) == 1


async def test_nothing_is_left_after_the_deadline(db: Database, counters: str, owner: asyncpg.Connection) -> None:
    """Its client was told that nothing was done."""
    deadline = Deadline(time.monotonic() + 60, writes=True)
    token = current_deadline.set(deadline)

    async def dawdle(session: AsyncSession) -> None:
        await count_and_leave(session, counters)
        deadline.has_passed = True

    with pytest.raises(DeadlineExceeded):
        await db.transact(dawdle)
    current_deadline.reset(token)
    assert await left(owner) == (0, 0, 0, 0)


async def test_a_read_leaves_no_record_and_says_so(db: Database, owner: asyncpg.Connection) -> None:
    """Whoever reads where nothing can be written must not believe that it was."""
    with pytest.raises(Unavailable):
        await db.read(leave)
    with pytest.raises(Unavailable):
        await db.read_directly(leave)
    assert await left(owner) == (0, 0, 0, 0)


async def test_what_is_written_earlier_is_written_once(db: Database, owner: asyncpg.Connection) -> None:
    """An operation that looks for its own record has it written before the end."""

    async def look_for_it(direct: Direct) -> int:
        await leave(direct)
        await direct.write_ending()
        await leave(direct, records=1, events=0, replies=0, first=5)
        return int((await direct.look("SELECT count(*) FROM platform.idempotency_keys"))[0])

    assert await db.transact_directly(look_for_it) == 1
    assert await left(owner) == (2, 2, 1, 1)


async def test_a_statement_that_is_all_of_a_transaction_leaves_nothing_besides(
    db: Database, counters: str, owner: asyncpg.Connection
) -> None:
    """What was collected would be committed apart from it."""

    async def both(direct: Direct) -> None:
        direct.change_at_the_end(f"UPDATE {counters} SET value = value + 1 WHERE id = 1")
        await leave(direct)

    with pytest.raises(LookupError):
        await db.transact_directly(both)
    assert await left(owner) == (0, 0, 0, 0)
    assert await value_of(owner, counters, 1) == 0


async def test_no_other_session_collects_anything(db: Database) -> None:
    """Nobody would write it."""
    async with Session(db._engine) as session:
        with pytest.raises(LookupError):
            await append_audit(session, ACT, entry(1))


async def test_one_statement_does_it_and_has_a_span(db: Database, counters: str) -> None:
    """Whatever there is to write; and a transaction that leaves nothing sends nothing."""
    sketch = Sketch()
    token = look_at(sketch)
    await db.transact(count_and_leave, counters)
    await db.transact(add, counters, 1)
    look_away(token)
    names = [note.name for note in sketch.notes if note.kind is Kind.CLIENT]
    work = names[0]
    assert work.startswith("UPDATE platform.counters")
    assert names == [work, "SELECT platform.write_ending", "COMMIT", work, "COMMIT"]


@pytest.mark.parametrize(("role", "events"), [("telemed_api", 1), ("telemed_audit_api", 0), ("telemed_jobs", 1)])
async def test_whoever_may_write_to_the_trail_may_end_so(
    open_database: OpenDatabase, database: TestDatabase, owner: asyncpg.Connection, role: str, events: int
) -> None:
    """With nothing more than they may do by hand: the auditor has no events."""
    db = await open_database(database.servers.role_dsn(database.name, role))
    await db.transact(leave, events=events, replies=0)
    assert await left(owner) == (1, 1, events, 0)


async def test_nobody_may_end_with_more_than_they_may_do_by_hand(
    open_database: OpenDatabase, database: TestDatabase, owner: asyncpg.Connection
) -> None:
    """The function has the rights of who calls it."""
    db = await open_database(database.servers.role_dsn(database.name, "telemed_audit_api"))
    for events, replies in ((1, 0), (0, 1)):
        with pytest.raises(StatementFailed) as failed:
            await db.transact(leave, events=events, replies=replies)
        assert isinstance(failed.value.orig, asyncpg.InsufficientPrivilegeError)
    assert await left(owner) == (0, 0, 0, 0)
