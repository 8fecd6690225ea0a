"""What the statements of looks find: nothing for who has no session, and what an index leads to."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.integration.looks.conftest import Scene
from tests.support.databases import TestDatabase
from tests.support.people import User

from telemed.auth.users.queries import LOOK_AT_USER
from telemed.booking.doctors.queries import LOOK_AT_DOCTOR, LOOK_AT_DOCTORS
from telemed.consultation.prescriptions.queries import LOOK_AT_PRESCRIPTIONS
from telemed.contracts.appointments import LOOK_AT_APPOINTMENT, LOOK_AT_APPOINTMENTS


def looks(scene: Scene) -> dict[str, tuple[Any, ...]]:
    """Give every statement, with the values of its query."""
    visit_id, doctor_id = UUID(scene.visit_id), UUID(scene.doctor.id)
    return {
        LOOK_AT_USER: (),
        LOOK_AT_APPOINTMENT: (visit_id,),
        LOOK_AT_APPOINTMENTS: (None, None, None, 21),
        LOOK_AT_PRESCRIPTIONS: (visit_id,),
        LOOK_AT_DOCTOR: (doctor_id,),
        LOOK_AT_DOCTORS: (None, None, None, None, 21),
    }


async def test_a_caller_without_a_session_finds_nothing(scene: Scene, database: TestDatabase) -> None:
    """Already in the database, so that no judgement could forget it; with one, each look finds something."""
    patient, gone = scene.callers["patient"], scene.callers["deleted"]
    assert isinstance(patient, User)
    assert isinstance(gone, User)
    services = await asyncpg.connect(database.services, statement_cache_size=0)
    for statement, values in looks(scene).items():
        rows = await services.fetch(statement, UUID(patient.id), UUID(patient.session_id), *values)
        assert {row[0] for row in rows} == {"patient"}
        assert rows[0][1] is not None
        await scene.owner.execute("UPDATE auth.sessions SET revoked_at = now() WHERE id = $1", UUID(patient.session_id))
        for user_id, session_id in ((patient.id, patient.session_id), (gone.id, gone.session_id)):
            (row,) = await services.fetch(statement, UUID(user_id), UUID(session_id), *values)
            assert not any(row), statement
        await scene.owner.execute("UPDATE auth.sessions SET revoked_at = NULL")
    await services.close()


@pytest.mark.parametrize("part", ["patient", "doctor"])
async def test_a_page_walks_an_index_for_each_part(part: str, scene: Scene) -> None:
    """Backwards from the cursor, so that a page costs the same in a long history; a patient has no doctor's part."""
    caller = scene.callers[part]
    assert isinstance(caller, User)
    async with scene.owner.transaction():
        # A table of a few rows is cheaper to read whole; what counts is that the indexes could be walked.
        await scene.owner.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
        )
        values = (UUID(caller.id), UUID(caller.session_id), None, None, None, 21)
        plan = await scene.owner.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {LOOK_AT_APPOINTMENTS}", *values)
    text = "\n".join(row[0] for row in plan)
    assert "Backward using appointments_of_patient" in text, text
    assert "Backward using appointments_of_doctor" in text, text
    assert "Sort  (" not in text, text
    assert ("never executed" in text) == (part == "patient"), text


async def test_a_visitor_finds_what_is_everybodys(scene: Scene, database: TestDatabase) -> None:
    """Who says not who they are has no role, and is shown the directory; of people's own there is nothing for them."""
    services = await asyncpg.connect(database.services, statement_cache_size=0)
    for statement, values in looks(scene).items():
        rows = await services.fetch(statement, None, None, *values)
        assert {row[0] for row in rows} == {None}
        assert (rows[0][1] is not None) == (statement in {LOOK_AT_DOCTOR, LOOK_AT_DOCTORS}), statement
    await services.close()
