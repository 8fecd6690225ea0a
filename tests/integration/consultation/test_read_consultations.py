"""Who sees a consultation, what they see, and what the trail says of it."""

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.integration.consultation.conftest import MakeVisit
from tests.support.people import People

from telemed.kernel.ids import uuid7


async def set_role(owner: asyncpg.Connection, user_id: str, role: str) -> None:
    await owner.execute("UPDATE auth.users SET role = $2 WHERE id = $1", UUID(user_id), role)


async def test_patient_and_doctor_read_the_same_thing(make_visit: MakeVisit) -> None:
    """Both participants see the whole shape, and each look is in the trail under the patient."""
    visit = await make_visit()
    seen = await visit.patient.get(visit.path)
    assert seen.status_code == 200
    assert seen.json() == {
        "id": visit.id,
        "doctor_id": visit.doctor.id,
        "patient_id": visit.patient.id,
        "status": "booked",
        "starts_at": "2026-11-23T08:00:00Z",
        "ends_at": "2026-11-23T08:30:00Z",
        "started_at": None,
        "completed_at": None,
    }
    assert (await visit.doctor.get(visit.path)).json() == seen.json()
    records = await visit.trail("consultation.read")
    assert [(r["actor_role"], r["outcome"]) for r in records] == [("patient", "allowed"), ("doctor", "allowed")]
    assert {str(r["patient_id"]) for r in records} == {visit.patient.id}


async def test_others_cannot_tell_it_from_nothing(make_visit: MakeVisit, people: People) -> None:
    """Another patient, another doctor and an admin get the 404 of an id that does not exist; the trail knows."""
    visit = await make_visit()
    others = [await people.patient(), await people.doctor(), await people.admin()]
    for other in others:
        reply = await other.get(visit.path)
        nothing = await other.get(f"/consultation/{uuid7()}")
        assert reply.status_code == nothing.status_code == 404
        varying = {"instance", "trace_id"}
        assert {k: v for k, v in reply.json().items() if k not in varying} == {
            k: v for k, v in nothing.json().items() if k not in varying
        }
    records = await visit.trail("consultation.read")
    assert [(str(r["actor_id"]), r["outcome"]) for r in records] == [(other.id, "denied") for other in others]


async def test_a_doctors_part_ends_and_returns_with_the_role(make_visit: MakeVisit, owner: asyncpg.Connection) -> None:
    """A doctor who was made a patient or an admin sees nothing of the visits; reinstated, all of them."""
    visit = await make_visit()
    for role, expected in (("patient", 404), ("admin", 404), ("doctor", 200)):
        await set_role(owner, visit.doctor.id, role)
        assert (await visit.doctor.get(visit.path)).status_code == expected, role
        assert (await visit.doctor.post(f"{visit.path}/start")).status_code == expected, role
        listed = await visit.doctor.get("/consultation")
        assert len(listed.json()["items"]) == (1 if expected == 200 else 0), role


@pytest.mark.parametrize("role", ["doctor", "admin"])
async def test_a_patients_visits_stay_theirs_in_every_role(
    role: str, make_visit: MakeVisit, owner: asyncpg.Connection
) -> None:
    """Whoever became a doctor or an admin still reads their own visit, and still cannot conduct it."""
    visit = await make_visit()
    await set_role(owner, visit.patient.id, role)
    assert (await visit.patient.get(visit.path)).status_code == 200
    assert [item["id"] for item in (await visit.patient.get("/consultation")).json()["items"]] == [visit.id]
    assert (await visit.patient.post(f"{visit.path}/start")).status_code == 403


async def test_a_moved_visit_is_shown_as_cancelled(make_visit: MakeVisit) -> None:
    """Clients of consultation know no `rescheduled`."""
    visit = await make_visit(status="rescheduled")
    assert (await visit.patient.get(visit.path)).json()["status"] == "cancelled"


async def test_the_list_pages_through_own_visits_latest_first(make_visit: MakeVisit, people: People) -> None:
    """Every own visit appears once, in order, over pages; nobody else's does."""
    patient, doctor = await people.patient(), await people.doctor()
    visits = [await make_visit(patient=patient, doctor=doctor, starts_in=timedelta(hours=place)) for place in range(5)]
    await make_visit(patient=patient, starts_in=timedelta(hours=9))
    await make_visit(doctor=doctor, starts_in=timedelta(hours=9))
    for who in (patient, doctor):
        found, cursor, pages = [], None, 0
        while cursor is not None or pages == 0:
            page = (await who.get("/consultation", limit=2, cursor=cursor)).json()
            found += [item["id"] for item in page["items"]]
            cursor, pages = page["next_cursor"], pages + 1
        assert pages == 3
        assert found[1:] == [visit.id for visit in reversed(visits)]


async def test_a_doctor_lists_visits_of_both_parts(make_visit: MakeVisit, people: People) -> None:
    """A doctor who is somebody's patient too sees both kinds in one order."""
    both = await people.doctor()
    first = await make_visit(doctor=both)
    second = await make_visit(patient=both, starts_in=timedelta(hours=1))
    third = await make_visit(doctor=both, starts_in=timedelta(hours=2))
    items = (await both.get("/consultation")).json()["items"]
    assert [item["id"] for item in items] == [third.id, second.id, first.id]


async def test_the_list_filters_by_status(make_visit: MakeVisit, people: People) -> None:
    """`cancelled` finds the moved ones too; an unknown status is refused."""
    patient = await people.patient()
    made = {
        status: (await make_visit(patient=patient, status=status, starts_in=timedelta(hours=place))).id
        for place, status in enumerate(["booked", "cancelled", "rescheduled", "completed"])
    }
    found = (await patient.get("/consultation", status="cancelled")).json()["items"]
    assert [item["id"] for item in found] == [made["rescheduled"], made["cancelled"]]
    assert (await patient.get("/consultation", status="rescheduled")).status_code == 422


async def test_a_list_leaves_a_record_for_each_visit_shown(make_visit: MakeVisit) -> None:
    """The trail can be asked who has seen a patient's visits, lists included; what a page left out was not seen."""
    first = await make_visit()
    second = await make_visit(doctor=first.doctor, starts_in=timedelta(hours=1))
    await first.doctor.get("/consultation", limit=1)
    (record,) = await second.trail("consultation.read")
    assert (record["outcome"], str(record["patient_id"])) == ("allowed", second.patient.id)
    assert str(record["actor_id"]) == first.doctor.id
    assert await first.trail("consultation.read") == []


async def test_each_part_of_the_list_walks_its_index(owner: asyncpg.Connection) -> None:
    """The order of the list is the order of an index, so that a page costs the same in a long history."""
    async with owner.transaction():
        # A table of a few rows is cheaper to read whole; what counts is that the index could be walked.
        await owner.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
        )
        for part in ("patient", "doctor"):
            plan = await owner.fetch(
                f"EXPLAIN SELECT id FROM booking.appointments WHERE {part}_id = $1"
                " AND (starts_at, id) < (now(), $1) ORDER BY starts_at DESC, id DESC LIMIT 21",
                uuid7(),
            )
            text = "\n".join(row[0] for row in plan)
            assert f"appointments_of_{part}" in text, text
            assert "Sort" not in text, text
