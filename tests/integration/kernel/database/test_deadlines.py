"""Transactions and deadlines: what still begins, and what does not."""

import time
from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from tests.support.counters import add, value_of

from telemed.kernel.database import Database
from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.problems import DeadlineExceeded

_LOST_RACE = text("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$")


@pytest.fixture
def deadline() -> Iterator[Deadline]:
    """The deadline of this test, a minute away; a request of its own for the code under test."""
    made = Deadline(time.monotonic() + 60, writes=True)
    token = current_deadline.set(made)
    yield made
    current_deadline.reset(token)


async def test_no_transaction_begins_after_the_deadline(db: Database, deadline: Deadline) -> None:
    """Nobody waits for it any more: no connection is taken, no statement sent."""
    begun = []

    async def operation(_session: AsyncSession) -> None:
        begun.append(1)

    deadline.has_passed = True
    with pytest.raises(DeadlineExceeded):
        await db.transact(operation)
    assert not begun


async def test_no_attempt_begins_after_the_deadline(db: Database, deadline: Deadline) -> None:
    """A transaction that lost a race is not run again when its time is up."""
    attempts = []

    async def lose(session: AsyncSession) -> None:
        attempts.append(1)
        if len(attempts) == 2:
            deadline.has_passed = True
        await session.execute(_LOST_RACE)

    with pytest.raises(DeadlineExceeded):
        await db.transact(lose)
    assert len(attempts) == 2


async def test_no_commit_begins_after_the_deadline(
    db: Database, deadline: Deadline, counters: str, owner: asyncpg.Connection
) -> None:
    """The client may have been told that nothing was done, and then nothing is."""

    async def dawdle(session: AsyncSession) -> None:
        await add(session, counters, 1)
        deadline.has_passed = True

    with pytest.raises(DeadlineExceeded):
        await db.transact(dawdle)
    assert await value_of(owner, counters, 1) == 0
    current_deadline.set(None)
    assert await db.transact(add, counters, 1) == 1
