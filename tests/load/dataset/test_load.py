"""Loading a data set: whole, or not at all, and as the API would have left it."""

from datetime import timedelta

import asyncpg
import pytest
from tests.load.dataset.conftest import PLAN
from tests.servers import TestServers
from tests.support.databases import TestDatabase, unused_name
from tests.support.invariants import violations, worker_of
from tests.support.settings import NOW

from dataset import loading
from dataset.plan import SMALLEST, Plan
from dataset.rows import COLUMNS
from telemed.kernel.clock import ManualClock
from telemed.kernel.settings import Settings
from telemed_load.problems import LoadProblem

_SCHEMA = """
    SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    UNION ALL SELECT indexdef FROM pg_indexes
    UNION ALL SELECT tgrelid::regclass::text || tgname || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1
"""


async def count_rows(owner: asyncpg.Connection) -> dict[str, int]:
    return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in COLUMNS}


async def schema(owner: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await owner.fetch(_SCHEMA)]


async def test_everything_planned_is_there(loaded: Plan, owner: asyncpg.Connection) -> None:
    """The counts are the plan's, and every table has rows."""
    counts = await count_rows(owner)

    assert counts["booking.slots"] == SMALLEST
    assert counts["auth.users"] == counts["auth.sessions"] == 1 + loaded.doctors + loaded.patients
    assert min(counts.values()) > 0


async def test_no_invariant_is_violated(loaded: Plan, settings: Settings, clock: ManualClock) -> None:
    """What the worker looks for all the time it does not find in a data set."""
    async with worker_of(settings, clock) as worker:
        assert await violations(worker) == {}


@pytest.mark.parametrize("rebuilt_from", [1, 10**9])
async def test_constraints_indexes_and_triggers_are_as_before(
    rebuilt_from: int,
    owner: asyncpg.Connection,
    database: TestDatabase,
    quietly: loading.Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was taken away for the load is back, to the letter."""
    monkeypatch.setattr(loading, "REBUILT_FROM", rebuilt_from)
    before = await schema(owner)

    await loading.load(database.owner, PLAN, "hash", quietly)

    assert await schema(owner) == before


async def test_a_slot_and_its_appointment_agree_for_all_time(loaded: Plan, owner: asyncpg.Connection) -> None:
    """The invariants look ahead only; here what is over is held to the same."""
    wrong = await owner.fetchval(
        """
        SELECT count(*) FROM booking.slots AS s
        FULL JOIN (SELECT * FROM booking.appointments WHERE status <> 'cancelled') AS a ON a.slot_id = s.id
        WHERE (s.status = 'booked') IS DISTINCT FROM (a.id IS NOT NULL)
           OR (a.id IS NOT NULL AND (a.doctor_id, a.starts_at, a.ends_at) IS DISTINCT FROM
               (s.doctor_id, s.starts_at, s.ends_at))
        """
    )

    assert wrong == 0


async def test_the_trail_says_what_was_loaded_and_is_chained(loaded: Plan, owner: asyncpg.Connection) -> None:
    """One record stands for all of it, and waits to be chained like any other."""
    rows = await owner.fetch(
        "SELECT action, details FROM audit.records JOIN audit.unchained ON record_id = id WHERE recorded_at = $1", NOW
    )

    assert [(row["action"], f'"slots": {loaded.slots}' in row["details"]) for row in rows] == [("dataset.load", True)]


async def test_a_database_with_people_is_refused_and_left_alone(
    loaded: Plan, owner: asyncpg.Connection, database: TestDatabase, quietly: loading.Report
) -> None:
    """Data of somebody's are not mixed with invented ones by mistake."""
    before = await count_rows(owner)

    with pytest.raises(LoadProblem, match="not empty"):
        await loading.load(database.owner, Plan(SMALLEST, seed=8, now=NOW), "hash", quietly)

    assert await count_rows(owner) == before


async def test_another_seed_fits_beside_the_first(
    loaded: Plan, owner: asyncpg.Connection, database: TestDatabase, quietly: loading.Report
) -> None:
    """Two data sets have no person, slot or address in common."""
    await loading.load(database.owner, Plan(SMALLEST, seed=8, now=NOW), "hash", quietly, beside=True)

    assert (await count_rows(owner))["booking.slots"] == 2 * SMALLEST


async def test_the_same_seed_again_is_refused_in_a_sentence(
    loaded: Plan, owner: asyncpg.Connection, database: TestDatabase, quietly: loading.Report
) -> None:
    """Also on another day, when its ids are others: its people are the same."""
    before = await count_rows(owner)
    tomorrow = Plan(SMALLEST, seed=loaded.seed, now=NOW + timedelta(days=1))

    with pytest.raises(LoadProblem, match="another --seed"):
        await loading.load(database.owner, tomorrow, "hash", quietly, beside=True)

    assert await count_rows(owner) == before


async def test_a_database_without_tables_is_refused(test_servers: TestServers, quietly: loading.Report) -> None:
    """The sentence says what to run."""
    name = unused_name()
    await test_servers.acreate_database(name)
    try:
        with pytest.raises(LoadProblem, match="telemed migrate"):
            await loading.load(test_servers.role_dsn(name, "telemed_owner"), PLAN, "hash", quietly)
    finally:
        await test_servers.adrop_database(name)


async def test_of_two_loads_at_once_one_is_refused(
    owner: asyncpg.Connection, database: TestDatabase, quietly: loading.Report
) -> None:
    """They would wait for each other's tables."""
    async with owner.transaction():
        await owner.fetchval("SELECT pg_advisory_xact_lock($1)", loading._LOAD_LOCK)

        with pytest.raises(LoadProblem, match="Another load"):
            await loading.load(database.owner, PLAN, "hash", quietly)


async def test_a_row_that_breaks_a_rule_stops_the_load_and_leaves_nothing(
    owner: asyncpg.Connection, database: TestDatabase, quietly: loading.Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking the constraints away for the load lets nothing through."""
    monkeypatch.setattr(loading, "REBUILT_FROM", 1)
    before = await schema(owner)
    # All doctors' patients are one: somewhere two of their visits overlap.
    monkeypatch.setattr("dataset.rows.visitor", lambda *_: 0)

    with pytest.raises(asyncpg.ExclusionViolationError):
        await loading.load(database.owner, PLAN, "hash", quietly)

    assert set((await count_rows(owner)).values()) == {0}
    assert await schema(owner) == before
