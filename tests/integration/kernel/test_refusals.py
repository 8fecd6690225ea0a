"""Refusals under keys, written for many at once: each as if it were alone."""

import asyncio
from datetime import timedelta
from unittest.mock import AsyncMock

import asyncpg
import pytest
from tests.support.databases import TestDatabase
from tests.support.settings import NOW

from telemed.kernel.direct import Direct
from telemed.kernel.engine import RawConnection
from telemed.kernel.idempotency import Once, Reply
from telemed.kernel.problems import KeyInProgress, KeyReused, Unavailable
from telemed.kernel.refusals import Refusals
from telemed.kernel.replication.availability import Availability
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.metrics import Metrics


def once(key: str, caller: str = "somebody", request_hash: bytes = b"the request") -> Once:
    return Once(caller, "POST", "/things", key, request_hash)


def refusal(text: str) -> Reply:
    return Reply(409, text.encode(), {"Content-Type": "application/problem+json", "X-Umlaut": "ä“\\"})


@pytest.fixture
async def refusals(resources: Resources, owner: asyncpg.Connection) -> Refusals:
    """Those of a process, with none written yet."""
    await owner.execute("DELETE FROM platform.idempotency_keys WHERE route = '/things'")
    return resources.refusals


async def stored(owner: asyncpg.Connection) -> list[tuple[str, str, bytes]]:
    rows = await owner.fetch(
        "SELECT caller, key, body FROM platform.idempotency_keys WHERE route = '/things' ORDER BY caller, key"
    )
    return [tuple(row) for row in rows]


async def test_each_is_stored_under_its_own_key(refusals: Refusals, owner: asyncpg.Connection) -> None:
    """And given again, byte for byte, by whoever asks."""
    wanted = [("a", f"key-{number}") for number in range(20)] + [("b", "key-1")]

    kept = await asyncio.gather(
        *(refusals.keep(once(key, caller), refusal(f"{caller}/{key}"), now=NOW) for caller, key in wanted)
    )

    assert kept == [None] * 21
    assert await stored(owner) == sorted((caller, key, f"{caller}/{key}".encode()) for caller, key in wanted)
    again = await refusals.keep(once("key-7", "a"), refusal("later"), now=NOW + timedelta(hours=1))
    assert again == Reply(409, b"a/key-7", refusal("").headers, is_replayed=True)


async def test_many_are_one_round_trip(
    refusals: Refusals, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither BEGIN nor COMMIT: hundreds who lose a race wait for the same few connections as who wins it."""

    async def connection_of(direct: Direct) -> RawConnection:
        await direct.rows("SELECT 1")
        return direct.connection

    ours, asked = await resources.db.read_directly(connection_of), []

    async def noted(connection: RawConnection, statement: str, *rest: object) -> str:
        if connection is ours:  # and not the look-out's
            asked.append(statement)
        return await execute(connection, statement, *rest)

    execute = asyncpg.Connection.execute
    monkeypatch.setattr(asyncpg.Connection, "execute", noted)

    assert await asyncio.gather(*(refusals.keep(once(key), refusal(key), now=NOW) for key in "abc")) == [None] * 3
    assert asked == []


async def test_the_first_of_one_key_in_one_call_stays(refusals: Refusals, owner: asyncpg.Connection) -> None:
    """The second is given it."""
    first, second = await asyncio.gather(
        refusals.keep(once("k"), refusal("first"), now=NOW), refusals.keep(once("k"), refusal("second"), now=NOW)
    )
    assert first is None
    assert second is not None
    assert (second.body, second.is_replayed) == (b"first", True)
    assert await stored(owner) == [("somebody", "k", b"first")]


async def test_a_key_that_stands_for_another_request_is_refused_alone(refusals: Refusals) -> None:
    """The others of the call do not hear of it."""
    await refusals.keep(once("k"), refusal("first"), now=NOW)
    results = await asyncio.gather(
        refusals.keep(once("k", request_hash=b"another"), refusal("second"), now=NOW),
        refusals.keep(once("j"), refusal("third"), now=NOW),
        return_exceptions=True,
    )
    assert isinstance(results[0], KeyReused)
    assert results[1] is None


async def test_a_key_that_is_claimed_is_in_progress(refusals: Refusals, owner: asyncpg.Connection) -> None:
    """By a transaction that may be about to succeed; the others of the call are written."""
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock($1)", once("k").lock_number)
        results = await asyncio.gather(
            refusals.keep(once("k"), refusal("first"), now=NOW),
            refusals.keep(once("j"), refusal("second"), now=NOW),
            return_exceptions=True,
        )
    assert isinstance(results[0], KeyInProgress)
    assert results[1] is None
    assert await refusals.keep(once("k"), refusal("first"), now=NOW) is None


async def test_a_row_of_one_key_says_nothing_of_another(
    refusals: Refusals, owner: asyncpg.Connection, database: TestDatabase
) -> None:
    """Whoever reads the function's answer wrongly must not find somebody else's reply there."""
    await refusals.keep(once("k"), refusal("first"), now=NOW)
    keys = [once("k"), once("j")]
    other = await asyncpg.connect(database.owner)
    async with owner.transaction():
        await owner.execute("SELECT pg_advisory_xact_lock($1)", keys[1].lock_number)
        rows = await other.fetch(
            "SELECT * FROM platform.keep_replies($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            [key.lock_number for key in keys],
            *([key.caller for key in keys], [key.method for key in keys], [key.route for key in keys]),
            *([key.key for key in keys], [b"", b""], [409, 409], ["{}", "{}"], [b"", b""], [NOW, NOW]),
        )
    await other.close()
    assert [row["kept_body"] for row in rows] == [b"first", None]
    assert tuple(rows[1]) == (False, None, None, None, None)


async def test_nothing_is_claimed_to_be_kept_that_is_not(
    refusals: Refusals, resources: Resources, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database goes, each of them is told so."""
    gone = Availability("primary", metrics=Metrics(), recovered=AsyncMock())  # that no look-out finds to be there
    gone.is_down = True
    monkeypatch.setattr(resources.db, "availability", gone)
    results = await asyncio.gather(
        *(refusals.keep(once(key), refusal(key), now=NOW) for key in "abc"), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable] * 3
    assert await stored(owner) == []
