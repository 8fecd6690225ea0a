"""GET /audit/events: everything can be found, by administrators only, and the look is recorded."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.support.people import People, User

from telemed.kernel.acts import Act, Actor
from telemed.kernel.audit import AuditEntry, AuditOutcome, append_audit
from telemed.kernel.clock import ManualClock
from telemed.kernel.ids import uuid7
from telemed.kernel.resources import Resources
from telemed.kernel.text import rfc3339

COLUMNS = {
    "id", "recorded_at", "actor_id", "actor_role", "action", "outcome", "entity_type", "entity_id", "patient_id",
    "request_id", "trace_id", "client_address", "details",
}  # fmt: skip


async def record(resources: Resources, **fields: Any) -> None:
    """Commit one record, as an operation would."""
    actor = Actor(fields.pop("actor_id", uuid7()), "doctor")
    entry = AuditEntry(**({"action": "thing.read", "entity_type": "thing"} | fields))
    await resources.db.transact(append_audit, Act(now=resources.clock.now(), actor=actor), entry)


async def ids(admin: User, **query: Any) -> list[UUID]:
    """Page through all that matches, in pages of two, and give the things' ids."""
    found: list[UUID] = []
    cursor = None
    while True:
        reply = await admin.get("/audit/events", limit=2, cursor=cursor, **query)
        assert reply.status_code == 200, reply.text
        found += [UUID(item["entity_id"]) for item in reply.json()["items"] if item["entity_id"]]
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            return found


async def test_a_record_is_shown_with_every_column(resources: Resources, people: People) -> None:
    """What its hash covers, so that it can be checked."""
    patient_id = uuid7()
    await record(resources, patient_id=patient_id, details={"reason": "late"})
    reply = await (await people.admin()).get("/audit/events", patient_id=patient_id)
    (item,) = reply.json()["items"]
    assert set(item) == COLUMNS
    assert item["details"] == {"reason": "late"}


async def test_the_newest_come_first_through_all_pages(
    resources: Resources, people: People, clock: ManualClock
) -> None:
    """Nothing twice, nothing missing, also among records of one instant."""
    admin, actor_id, things = await people.admin(), uuid7(), [uuid7() for _ in range(7)]
    for place, thing in enumerate(things):
        await record(resources, actor_id=actor_id, entity_id=thing)
        if place % 3 == 2:
            clock.advance(timedelta(seconds=1))
    found = await ids(admin, actor_id=actor_id)
    assert sorted(found) == sorted(things)
    assert found[0] == things[6]
    assert set(found[1:4]) == set(things[3:6])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action", "thing.changed"),
        ("entity_type", "other"),
        ("entity_id", uuid7()),
        ("patient_id", uuid7()),
        ("actor_id", uuid7()),
        ("outcome", "denied"),
        ("outcome", "failed"),
    ],
)
async def test_a_filter_shows_what_matches_and_nothing_else(
    resources: Resources, people: People, name: str, value: Any
) -> None:
    """One filter at a time."""
    admin = await people.admin()
    for _ in range(3):
        await record(resources)
    await record(resources, **{name: value})
    reply = await admin.get("/audit/events", **{name: value})
    shown = [item for item in reply.json()["items"] if item["action"] != "audit.read"]
    assert [item[name] for item in shown] == [str(value)]


@pytest.mark.parametrize(("short", "column"), [("actor", "actor_id"), ("entity", "entity_id")])
async def test_a_filter_has_its_short_name_too(resources: Resources, people: People, short: str, column: str) -> None:
    """The API's design speaks of actor and entity."""
    wanted = uuid7()
    await record(resources)
    await record(resources, **{column: wanted})
    query: dict[str, Any] = {short: wanted}
    reply = await (await people.admin()).get("/audit/events", **query)
    assert [item[column] for item in reply.json()["items"]] == [str(wanted)]


async def test_a_misspelt_filter_is_refused(people: People) -> None:
    """What looks filtered and is not would be worse than no answer."""
    reply = await (await people.admin()).get("/audit/events", actr=uuid7())
    assert (reply.status_code, reply.json()["errors"][0]["loc"]) == (422, ["query", "actr"])


async def test_filters_are_combined(resources: Resources, people: People, clock: ManualClock) -> None:
    """All that are given must hold, also over several pages."""
    admin, patient_id = await people.admin(), uuid7()
    wanted = []
    for place in range(12):
        outcome: AuditOutcome = "denied" if place % 2 else "allowed"
        thing = uuid7()
        await record(resources, patient_id=patient_id, outcome=outcome, entity_id=thing)
        if outcome == "denied" and 3 <= place < 9:
            wanted.append(thing)
        clock.advance(timedelta(seconds=1))
    start = clock.now() - timedelta(seconds=12)
    # An offset whose plus sign nobody escaped is understood too.
    window = {
        "from_": rfc3339(start + timedelta(seconds=3)).replace("Z", " 00:00"),
        "to": rfc3339(start + timedelta(seconds=9)),
    }
    found = await ids(admin, patient_id=patient_id, outcome="denied", action="thing.read", **window)
    assert found == wanted[::-1]


async def test_the_look_is_recorded(resources: Resources, people: People, owner: asyncpg.Connection) -> None:
    """With who looked, whose data they asked for, and how."""
    admin, patient_id = await people.admin(), uuid7()
    await record(resources, patient_id=patient_id)
    await admin.get("/audit/events", patient_id=patient_id, outcome="allowed")
    look = await owner.fetchrow("SELECT * FROM audit.records WHERE action = 'audit.read'")
    assert look is not None
    assert (str(look["actor_id"]), look["patient_id"], look["outcome"]) == (admin.id, patient_id, "allowed")
    assert look["details"] == '{"shown": 1, "filter": {"limit": 50, "outcome": "allowed"}}'


@pytest.mark.parametrize("role", ["patient", "doctor"])
async def test_others_are_refused_and_their_try_is_recorded(
    people: People, owner: asyncpg.Connection, role: str
) -> None:
    """403, with a denial in the trail."""
    user = await getattr(people, role)()
    reply = await user.get("/audit/events")
    assert (reply.status_code, reply.json()["type"]) == (403, "forbidden")
    assert await owner.fetchval("SELECT outcome FROM audit.records WHERE actor_id = $1", UUID(user.id)) == "denied"
    assert (await people.nobody.get("/audit/events")).status_code == 401
