"""What is asked of two years of months stays what it was for one table: index scans, and never a sort of the trail."""

import re
from uuid import uuid4

import asyncpg
import pytest
from tests.support.months import id_in, instant_in, make_months, months_ago

from telemed.worker import queries

MONTHS = [months_ago(count) for count in range(24)]
RECORDS = """
    INSERT INTO audit.records
    SELECT overlay($1::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, $2::timestamptz + n * interval '1 second',
           lpad(to_hex(n % 40), 32, '0')::uuid, 'doctor', CASE WHEN n % 100 = 1 THEN 'rare.act' ELSE 'thing.read' END,
           CASE WHEN n % 5 = 0 THEN 'denied' ELSE 'allowed' END, 'thing', lpad(to_hex(n % 40), 32, '0')::uuid,
           lpad(to_hex(n % 40), 32, '0')::uuid, '', '', '', '{}'
    FROM generate_series(1, 1500) AS n
"""
SOMEBODY = "00000000-0000-0000-0000-000000000007"
# Each filter and the columns of the index that it must walk.
FILTERS = {
    f"patient_id = '{SOMEBODY}'": "patient_id_recorded_at_id_idx",
    f"entity_id = '{SOMEBODY}'": "entity_id_recorded_at_id_idx",
    f"actor_id = '{SOMEBODY}' AND action = 'thing.read'": "actor_id_recorded_at_id_idx",
    "action = 'rare.act'": "action_recorded_at_id_idx",
    "outcome = 'denied' AND outcome <> 'allowed'": "recorded_at_id_idx1",
    "entity_type = 'thing'": "recorded_at_id_idx",
}


async def plan_of(owner: asyncpg.Connection, statement: str, *values: object) -> str:
    """Give the plan as text."""
    return "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {statement}", *values))


async def test_a_page_of_the_trail_comes_from_one_index_of_each_month(owner: asyncpg.Connection) -> None:
    """Merged in its order, without a sort and without reading a month."""
    await make_months(owner, "audit", *MONTHS)
    for month in MONTHS:
        await owner.execute(RECORDS, id_in(month), instant_in(month))
    await owner.execute("ANALYZE audit.records")
    newest = instant_in(MONTHS[0], second=1400)
    for condition, index in FILTERS.items():
        plan = await plan_of(
            owner,
            f"""
            SELECT * FROM audit.records
            WHERE {condition} AND (recorded_at, id) < ('{newest.isoformat()}', '{id_in(MONTHS[0])}')
            ORDER BY recorded_at DESC, id DESC LIMIT 51
            """,
        )
        assert "Merge Append" in plan, condition
        assert "Sort  (" not in plan, plan
        for month in MONTHS:
            assert f"Seq Scan on records_{month:%Y_%m}" not in plan, plan
            assert f"Index Scan Backward using records_{month:%Y_%m}_{index} " in plan, plan


async def test_a_record_is_looked_up_in_its_month_only(owner: asyncpg.Connection) -> None:
    """Its id says which."""
    await make_months(owner, "audit", *MONTHS)
    plan = await plan_of(owner, f"SELECT * FROM audit.records WHERE id = '{id_in(MONTHS[5])}'")
    assert plan.count("Scan") == 1
    assert f"records_{MONTHS[5]:%Y_%m}" in plan


@pytest.fixture
async def filled_outbox(owner: asyncpg.Connection) -> asyncpg.Connection:
    """Two years of delivered events, and a few that are due."""
    await make_months(owner, "outbox", *MONTHS)
    for place, month in enumerate(MONTHS):
        await owner.execute(
            """
            INSERT INTO platform.outbox (id, type, payload, traceparent, occurred_at, available_at, delivered_at)
            SELECT gen_random_uuid(), 't', '{}', '', at, at, CASE WHEN $2 OR n > 20 THEN at END
            FROM (SELECT $1::timestamptz AS at, generate_series(1, 6000) AS n) AS of_month
            """,
            instant_in(month),
            place > 0,
        )
    await owner.execute("ANALYZE platform.outbox")
    return owner


async def test_the_claim_looks_at_what_is_due_only(filled_outbox: asyncpg.Connection) -> None:
    """One look into each month's small index, no month read."""
    now = instant_in(MONTHS[0])
    plan = await plan_of(filled_outbox, queries._CLAIM, ["t"], now, now, 10)
    claim, update = plan.split("CTE due", 1)[1].split("->  CTE Scan on due", 1)
    for month in MONTHS:
        assert f"Seq Scan on outbox_{month:%Y_%m}" not in plan, plan
        assert f"Index Scan using outbox_{month:%Y_%m}_available_at_idx" in claim, claim
        assert f"Index Scan using outbox_{month:%Y_%m}_pkey" in update, update


async def test_events_are_noted_in_their_months_only(filled_outbox: asyncpg.Connection) -> None:
    """Statements that name events name their instants."""
    ids, instants = [uuid4(), uuid4()], [instant_in(MONTHS[3]), instant_in(MONTHS[3], second=5)]
    for statement, values in {
        queries._DELIVERED: (ids, instants, *instants, instants[0]),
        queries._FAILED: (ids[0], instants[0], 1, instants[0], None, ""),
        queries._UNTRIED: (ids[0], instants[0], 1, instants[0]),
    }.items():
        plan = await plan_of(filled_outbox, statement, *values)
        # By its key, or by the index of what is due, which is empty in this month.
        assert re.findall(r"Index Scan .*on (outbox\w+)", plan) == [f"outbox_{MONTHS[3]:%Y_%m}"], plan
        assert plan.count("Scan") - plan.count("Function Scan on told") == 1, plan
