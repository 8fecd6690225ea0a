"""The records of looks, written for many at once: each as if it were alone, and none after the deadline."""

import asyncio
import time
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.support.databases import TestDatabase
from tests.support.settings import NOW

from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.direct import StatementFailed
from telemed.kernel.ids import uuid7
from telemed.kernel.problems import DeadlineExceeded, Unavailable
from telemed.kernel.resources import Resources


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """A trail of one's own."""
    return fresh_database


def act(number: int, *, is_known: bool = True) -> Act:
    actor = Actor(UUID(int=number), "patient", uuid7()) if is_known else None
    return Act(NOW, actor, f"request-{number}", f"trace-{number}", client_address="10.0.0.1")


ENTRIES = [
    AuditEntry("thing.read", "thing", UUID(int=7), UUID(int=8)),
    AuditEntry("thing.read", "thing", None, None, "denied", {"umlaut": "ä“\\", "number": 1, "none": None}),
]


async def records(owner: asyncpg.Connection) -> list[dict[str, Any]]:
    rows = await owner.fetch("SELECT * FROM audit.records ORDER BY request_id, outcome")
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


async def test_says_what_a_session_would_have_said(resources: Resources, owner: asyncpg.Connection) -> None:
    """Column by column, for one who is known and one who is not; and the chain will take them in."""
    for someone in (act(1), act(2, is_known=False)):
        await resources.db.transact(append_audit, someone, *ENTRIES)
    by_session = await records(owner)
    await owner.execute("ALTER TABLE audit.records DISABLE TRIGGER records_immutable")
    await owner.execute("DELETE FROM audit.records")
    for someone in (act(1), act(2, is_known=False)):
        await resources.trail.append(someone, ENTRIES)
    assert await records(owner) == by_session
    assert len(by_session) == 4
    queued = await owner.fetchval("SELECT count(*) FROM audit.unchained JOIN audit.records ON id = record_id")
    assert queued == 4


async def test_those_who_come_together_share_transactions(resources: Resources, owner: asyncpg.Connection) -> None:
    """Every record is there under its own actor, and there were fewer commits than lookers."""
    before = resources.metrics.transactions.labels("committed")._value.get()
    await asyncio.gather(*(resources.trail.append(act(number), ENTRIES[:1]) for number in range(50)))
    assert {row["actor_id"].int for row in await records(owner)} == set(range(50))
    assert resources.metrics.transactions.labels("committed")._value.get() - before < 10


async def test_nothing_to_say_asks_for_nothing(resources: Resources, owner: asyncpg.Connection) -> None:
    """An empty list, or what belongs to no patient: no connection and no transaction."""
    before = resources.metrics.transactions.labels("committed")._value.get()
    await resources.trail.append(act(1), [])
    assert resources.metrics.transactions.labels("committed")._value.get() == before


async def test_it_fails_for_all_who_share_it(resources: Resources, owner: asyncpg.Connection) -> None:
    """None of them may show anything, and of none there is a record."""
    await owner.execute("REVOKE INSERT ON audit.records FROM telemed_services")
    ended = await asyncio.gather(
        *(resources.trail.append(act(number), ENTRIES) for number in range(5)), return_exceptions=True
    )
    await owner.execute("GRANT INSERT ON audit.records TO telemed_services")
    assert {type(one) for one in ended} <= {StatementFailed, Unavailable}
    assert await records(owner) == []
    await resources.trail.append(act(1), ENTRIES)
    assert len(await records(owner)) == 2


async def test_nobody_sees_anything_before_the_commit(resources: Resources, owner: asyncpg.Connection) -> None:
    """While the trail cannot be written, whoever looks waits."""
    await resources.trail.append(act(0), ENTRIES)
    async with owner.transaction():
        await owner.execute("LOCK TABLE audit.records IN ACCESS EXCLUSIVE MODE")
        waits = [asyncio.create_task(resources.trail.append(act(number), ENTRIES)) for number in range(3)]
        done, _ = await asyncio.wait(waits, timeout=0.3)
        assert not done
    await asyncio.gather(*waits)
    assert len(await records(owner)) == 8


async def test_nothing_is_written_after_the_deadline(resources: Resources, owner: asyncpg.Connection) -> None:
    """Its client has been told that it was too late, so it sees nothing."""
    token = current_deadline.set(Deadline(time.monotonic() - 1, writes=False))
    with pytest.raises(DeadlineExceeded):
        await resources.trail.append(act(1), ENTRIES)
    current_deadline.reset(token)
    assert await records(owner) == []
