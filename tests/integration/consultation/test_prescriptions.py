"""Prescriptions: issued by the visit's doctor, immutable, superseded in one line, read by two people."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.consultation.conftest import MakeVisit
from tests.support.databases import TestDatabase
from tests.support.people import People

from telemed.consultation.prescriptions.rules import MAX_VERSIONS
from telemed.contracts import appointments
from telemed.kernel.ids import uuid7


@pytest.fixture
async def services_role(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection with the role of the services."""
    connection = await asyncpg.connect(database.services)
    yield connection
    await connection.close()


@pytest.mark.parametrize("state", ["in_progress", "completed"])
async def test_a_doctor_issues_and_the_patient_reads(
    state: str, make_visit: MakeVisit, prescription: dict[str, Any]
) -> None:
    """What was sent is what is shown, to both, with a record of the issue and of each look."""
    visit = await make_visit(status=state)
    issued = await visit.doctor.post(f"{visit.path}/prescription", prescription)
    assert issued.status_code == 201, issued.text
    assert issued.headers["Location"] == f"{visit.path}/prescription"
    shown = issued.json()
    assert shown == prescription | {
        "id": shown["id"],
        "consultation_id": visit.id,
        "version": 1,
        "issued_at": "2026-11-23T08:00:00Z",
        "supersedes": None,
    }
    for who in (visit.patient, visit.doctor):
        assert (await who.get(issued.headers["Location"])).json() == shown | {"history": []}
    (record,) = await visit.trail("prescription.issue")
    assert (record["outcome"], str(record["patient_id"])) == ("allowed", visit.patient.id)
    assert "Amoxicillin" not in str(record)
    looks = await visit.trail("prescription.read")
    assert [str(look["actor_id"]) for look in looks] == [visit.patient.id, visit.doctor.id]
    assert {(look["outcome"], str(look["patient_id"])) for look in looks} == {("allowed", visit.patient.id)}
    assert await visit.events() == ["prescription.issued"]


async def test_optional_fields_may_be_left_out(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """They are null in the reply, never missing."""
    visit = await make_visit(status="in_progress")
    item = {name: prescription["items"][0][name] for name in ("medicine", "dosage", "frequency", "duration_days")}
    shown = (await visit.doctor.post(f"{visit.path}/prescription", {"items": [item]})).json()
    assert (shown["diagnosis"], shown["advice"], shown["follow_up_on"]) == (None, None, None)
    assert shown["items"] == [item | {"instructions": None}]


@pytest.mark.parametrize("state", ["booked", "cancelled", "rescheduled", "no_show"])
async def test_a_visit_that_did_not_start_has_none(
    state: str, make_visit: MakeVisit, prescription: dict[str, Any]
) -> None:
    """409 naming the state; and there is none to read, which its patient may know without a denial."""
    visit = await make_visit(status=state)
    refused = await visit.doctor.post(f"{visit.path}/prescription", prescription)
    assert (refused.status_code, refused.json()["type"], refused.json()["state"]) == (409, "step-not-allowed", state)
    none = await visit.patient.get(f"{visit.path}/prescription")
    assert (none.status_code, none.json()["type"]) == (404, "prescription-not-issued")
    assert await visit.trail("prescription.read") == []


async def test_a_new_one_supersedes(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """The newest is shown, with those before it in its history, unchanged."""
    visit = await make_visit(status="in_progress")
    path = f"{visit.path}/prescription"
    issued = [(await visit.doctor.post(path, prescription | {"advice": f"{n}"})).json() for n in range(3)]
    assert [one["version"] for one in issued] == [1, 2, 3]
    assert [one["supersedes"] for one in issued] == [None, issued[0]["id"], issued[1]["id"]]
    assert (await visit.patient.get(path)).json() == issued[2] | {"history": [issued[1], issued[0]]}


async def test_those_issued_at_once_form_one_line(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """Eight in parallel get eight versions, each superseding the one before."""
    visit = await make_visit(status="in_progress")
    path = f"{visit.path}/prescription"
    replies = await asyncio.gather(*(visit.doctor.post(path, prescription) for _ in range(8)))
    assert {reply.status_code for reply in replies} == {201}
    line = sorted((reply.json() for reply in replies), key=lambda one: int(one["version"]))
    assert [one["version"] for one in line] == list(range(1, 9))
    assert [one["supersedes"] for one in line] == [None, *(one["id"] for one in line[:-1])]


async def test_without_the_lock_the_constraint_still_holds(
    make_visit: MakeVisit, prescription: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first wall taken away, no two get one version, and the loser is told so."""
    monkeypatch.setattr(appointments, "_LOCK", appointments._LOCK.replace("FOR UPDATE", ""))
    visit = await make_visit(status="in_progress")
    path = f"{visit.path}/prescription"
    replies = await asyncio.gather(*(visit.doctor.post(path, prescription) for _ in range(8)))
    won = [reply.json()["version"] for reply in replies if reply.status_code == 201]
    lost = {reply.json()["type"] for reply in replies if reply.status_code != 201}
    assert sorted(won) == list(range(1, len(won) + 1))
    assert lost == {"prescribed-meanwhile"}, "nothing raced: the test shows nothing"


async def test_there_is_a_last_version(
    make_visit: MakeVisit, prescription: dict[str, Any], owner: asyncpg.Connection
) -> None:
    """The reply that shows all of them stays bounded."""
    visit = await make_visit(status="completed")
    previous = None
    for version in range(1, MAX_VERSIONS + 1):
        made = uuid7()
        await owner.execute(
            "INSERT INTO consultation.prescriptions (id, consultation_id, doctor_id, patient_id, version, supersedes,"
            " issued_at, items) VALUES ($1, $2, $3, $4, $5, $6, now(), '[{}]')",
            made,
            UUID(visit.id),
            UUID(visit.doctor.id),
            UUID(visit.patient.id),
            version,
            previous,
        )
        previous = made
    refused = await visit.doctor.post(f"{visit.path}/prescription", prescription)
    assert (refused.status_code, refused.json()["type"]) == (409, "prescription-limit-reached")


async def test_the_patient_may_not_prescribe(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """Their own visit: 403, recorded."""
    visit = await make_visit(status="in_progress")
    reply = await visit.patient.post(f"{visit.path}/prescription", prescription)
    assert (reply.status_code, reply.json()["type"]) == (403, "forbidden")
    (record,) = await visit.trail("prescription.issue")
    assert record["outcome"] == "denied"


async def test_others_neither_read_nor_write_it(
    make_visit: MakeVisit, people: People, prescription: dict[str, Any]
) -> None:
    """Another patient, another doctor, an admin: the 404 of a visit that does not exist, and a record each."""
    visit = await make_visit(status="in_progress")
    path = f"{visit.path}/prescription"
    await visit.doctor.post(path, prescription)
    for other in (await people.patient(), await people.doctor(), await people.admin()):
        for reply in (await other.get(path), await other.post(path, prescription)):
            assert (reply.status_code, reply.json()["type"]) == (404, "not-found")
    for action, allowed in (("prescription.read", 0), ("prescription.issue", 1)):
        outcomes = [record["outcome"] for record in await visit.trail(action)]
        assert outcomes == ["allowed"] * allowed + ["denied"] * 3


async def test_a_follow_up_in_the_past_is_refused(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """422 at the field, and nothing issued."""
    visit = await make_visit(status="in_progress")
    refused = await visit.doctor.post(f"{visit.path}/prescription", prescription | {"follow_up_on": "2026-11-01"})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "follow_up_on"])
    assert (await visit.doctor.get(f"{visit.path}/prescription")).status_code == 404


async def test_a_repeated_key_issues_once(make_visit: MakeVisit, prescription: dict[str, Any]) -> None:
    """The same bytes again; another body under the key is refused."""
    visit = await make_visit(status="in_progress")
    path = f"{visit.path}/prescription"
    first = await visit.doctor.post(path, prescription, key="rx")
    again = await visit.doctor.post(path, prescription, key="rx")
    other = await visit.doctor.post(path, prescription | {"advice": None}, key="rx")
    assert (again.status_code, again.content, again.headers["Location"]) == (201, first.content, f"{path}")
    assert (other.status_code, other.json()["type"]) == (422, "key-reused")
    assert (await visit.doctor.get(path)).json()["history"] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consultation.prescriptions SET advice = 'x'",
        "DELETE FROM consultation.prescriptions",
        "TRUNCATE consultation.prescriptions",
    ],
)
async def test_nobody_changes_what_was_issued(
    statement: str, owner: asyncpg.Connection, services_role: asyncpg.Connection
) -> None:
    """The services lack the grant; the owner meets the trigger."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await services_role.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="immutable"):
        await owner.execute(statement)
