"""Roles, and seeing oneself."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest
from tests.integration.auth.conftest import new_email
from tests.support.databases import TestDatabase
from tests.support.people import People

from telemed.auth.users.operations import change_role
from telemed.contracts.roles import Role
from telemed.kernel.acts import Act, Actor
from telemed.kernel.problems import Forbidden
from telemed.kernel.resources import Resources


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """Counting administrators needs a database of one's own."""
    return fresh_database


async def test_a_new_role_holds_for_a_token_that_is_out_already(people: People) -> None:
    """At once, in both directions."""
    admin, user = await people.admin(), await people.patient()
    for role in ("admin", "doctor", "patient"):
        reply = await admin.post("/auth/admin/role", {"user_id": user.id, "role": role})
        assert (reply.status_code, reply.json()["role"]) == (200, role)
        assert (await user.get("/auth/me")).json()["role"] == role
        allowed = await user.post("/auth/admin/role", {"user_id": user.id, "role": role})
        assert allowed.status_code == (200 if role == "admin" else 403)


async def test_a_user_is_named_by_id_or_by_address(people: People) -> None:
    """By exactly one of them, the address in any spelling."""
    admin, user = await people.admin(), await people.patient()
    by_email = await admin.post("/auth/admin/role", {"email": user.email.upper(), "role": "doctor"})
    assert (by_email.status_code, by_email.json()["id"]) == (200, user.id)
    for body in ({"role": "doctor"}, {"role": "doctor", "email": user.email, "user_id": user.id}):
        assert (await admin.post("/auth/admin/role", body)).status_code == 422


async def test_a_user_who_does_not_exist_is_not_found(people: People) -> None:
    """Administrators may know."""
    admin = await people.admin()
    for who in ({"email": new_email()}, {"user_id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"}):
        reply = await admin.post("/auth/admin/role", who | {"role": "doctor"})
        assert (reply.status_code, reply.json()["type"]) == (404, "not-found")


@pytest.mark.parametrize("role", [Role.PATIENT, Role.DOCTOR])
async def test_only_administrators_assign_roles(people: People, owner: asyncpg.Connection, role: Role) -> None:
    """Others are refused, and that is recorded; nobody is refused earlier."""
    caller = await people.make(role)
    reply = await caller.post("/auth/admin/role", {"user_id": caller.id, "role": "admin"})
    assert (reply.status_code, reply.json()["type"]) == (403, "forbidden")
    record = await owner.fetchval("SELECT outcome FROM audit.records WHERE actor_id = $1", UUID(caller.id))
    assert record == "denied"
    nobody = await people.nobody.post("/auth/admin/role", {"user_id": caller.id, "role": "admin"})
    assert nobody.status_code == 401


async def test_a_change_is_recorded_and_told(people: People, owner: asyncpg.Connection) -> None:
    """Who, whom, from what to what; a change that changes nothing is recorded and not told."""
    admin, user = await people.admin(), await people.patient()
    for _ in range(2):
        await admin.post("/auth/admin/role", {"user_id": user.id, "role": "doctor"})
    records = await owner.fetch(
        "SELECT actor_id, details FROM audit.records WHERE entity_id = $1 ORDER BY id", UUID(user.id)
    )
    assert [(row["actor_id"], json.loads(row["details"])) for row in records] == [
        (UUID(admin.id), {"role": "doctor", "previous_role": "patient"}),
        (UUID(admin.id), {"role": "doctor", "previous_role": "doctor"}),
    ]
    events = await owner.fetch("SELECT payload FROM platform.outbox WHERE type = 'user.role_changed'")
    assert [json.loads(row["payload"]) for row in events] == [
        {"user_id": user.id, "role": "doctor", "previous_role": "patient"}
    ]


async def test_the_last_administrator_stays(people: People, owner: asyncpg.Connection) -> None:
    """Until there is another one; the attempt is recorded."""
    admin, user = await people.admin(), await people.patient()
    step_down = {"user_id": admin.id, "role": "patient"}
    reply = await admin.post("/auth/admin/role", step_down)
    assert (reply.status_code, reply.json()["type"]) == (409, "last-admin")
    assert await owner.fetchval("SELECT outcome FROM audit.records WHERE entity_id = $1", UUID(admin.id)) == "denied"
    await admin.post("/auth/admin/role", {"user_id": user.id, "role": "admin"})
    assert (await admin.post("/auth/admin/role", step_down)).status_code == 200


async def test_of_administrators_who_all_step_down_at_once_one_stays(people: People, owner: asyncpg.Connection) -> None:
    """They queue on each other's rows."""
    for _ in range(5):
        admins = [await people.admin() for _ in range(4)]
        await owner.execute(
            "UPDATE auth.users SET role = 'patient' WHERE NOT id::text = ANY($1)", [a.id for a in admins]
        )
        replies = await asyncio.gather(
            *(admin.post("/auth/admin/role", {"user_id": admin.id, "role": "patient"}) for admin in admins)
        )
        assert sorted(reply.status_code for reply in replies) == [200, 200, 200, 409]
        assert await owner.fetchval("SELECT count(*) FROM auth.users WHERE role = 'admin'") == 1


async def test_administrators_who_remove_each_other_do_not_both_succeed(
    people: People, owner: asyncpg.Connection
) -> None:
    """Whoever was removed while waiting removes nobody any more."""
    for _ in range(5):
        one, two, three = [await people.admin() for _ in range(3)]
        replies = await asyncio.gather(
            one.post("/auth/admin/role", {"user_id": two.id, "role": "patient"}),
            two.post("/auth/admin/role", {"user_id": one.id, "role": "patient"}),
        )
        assert sorted(reply.status_code for reply in replies) == [200, 403]
        await owner.execute("UPDATE auth.users SET role = 'patient' WHERE id::text != $1", three.id)


async def test_who_was_removed_while_waiting_is_on_record(people: People, resources: Resources) -> None:
    """They came in as an administrator, and are none when the rows are theirs: refused like any other, and noted."""
    user = await people.patient()
    act = Act(now=resources.clock.now(), actor=Actor(UUID(user.id), Role.ADMIN))
    with pytest.raises(Forbidden) as refused:
        await resources.db.transact(change_role, act, UUID(user.id), None, Role.ADMIN)
    denial = refused.value.denial
    assert denial is not None
    assert (denial.action, denial.entity_id, denial.outcome) == ("user.change_role", UUID(user.id), "denied")


async def test_seeing_oneself_is_recorded(people: People, owner: asyncpg.Connection) -> None:
    """A look at a patient's data, be it by the patient."""
    user = await people.patient()
    reply = await user.get("/auth/me")
    assert set(reply.json()) == {"id", "email", "full_name", "phone", "role", "created_at"}
    record = await owner.fetchrow("SELECT action, patient_id FROM audit.records WHERE actor_id = $1", UUID(user.id))
    assert record is not None
    assert tuple(record) == ("user.read", UUID(user.id))
