"""Everybody tries everything on somebody else's things: what each gets, and what the trail says of it."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
from tests.support.openapi import operations
from tests.support.people import Caller, User
from tests.support.scenes import Scene, Scenes

ACTORS = (
    "nobody",
    "patient",  # of the scene: the appointment, consultation and prescription are theirs
    "other patient",
    "doctor",  # of the scene: slots and profile are theirs too
    "other doctor",
    "admin",
    "logged out",  # the scene's patient, after their session was ended
    "former doctor",  # the scene's, a patient since a moment ago, with the token from before
    "former admin",  # a patient since a moment ago
    "new doctor",  # the scene's patient, a doctor since a moment ago
)
# One row for each operation, one status for each actor in the order above.
MATRIX = {
    "POST /auth/register": (201, 201, 201, 201, 201, 201, 201, 201, 201, 201),
    "POST /auth/login": (200, 200, 200, 200, 200, 200, 200, 200, 200, 200),
    "POST /auth/refresh": (200, 200, 200, 200, 200, 200, 200, 200, 200, 200),
    "POST /auth/logout": (204, 204, 204, 204, 204, 204, 204, 204, 204, 204),
    "GET /auth/me": (401, 200, 200, 200, 200, 200, 401, 200, 200, 200),
    "GET /auth/jwks.json": (200, 200, 200, 200, 200, 200, 200, 200, 200, 200),
    "POST /auth/admin/role": (401, 403, 403, 403, 403, 200, 401, 403, 403, 403),
    "GET /audit/events": (401, 403, 403, 403, 403, 200, 401, 403, 403, 403),
    # Public; a token that is sent is looked at where it could show more.
    "GET /booking/slots/search": (200, 200, 200, 200, 200, 200, 200, 200, 200, 200),
    "GET /booking/doctors": (200, 200, 200, 200, 200, 200, 401, 200, 200, 200),
    "GET /booking/doctors/{doctor_id}": (200, 200, 200, 200, 200, 200, 401, 200, 200, 200),
    "PUT /booking/doctors/me": (401, 403, 403, 200, 200, 403, 401, 403, 403, 200),
    # A new doctor has no entry in the directory yet.
    "POST /booking/slots": (401, 403, 403, 201, 201, 403, 401, 403, 403, 409),
    "DELETE /booking/slots/{slot_id}": (401, 403, 403, 204, 404, 403, 401, 403, 403, 404),
    # The slots of a former doctor cannot be booked, not even by themselves.
    "POST /booking/slots/book": (401, 201, 201, 403, 403, 403, 401, 404, 201, 403),
    "GET /booking/appointments": (401, 200, 200, 200, 200, 200, 401, 200, 200, 200),
    "GET /booking/appointments/{appointment_id}": (401, 200, 404, 200, 404, 404, 401, 404, 404, 200),
    "POST /booking/appointments/{appointment_id}/cancel": (401, 200, 404, 200, 404, 404, 401, 404, 404, 200),
    "POST /booking/appointments/{appointment_id}/reschedule": (401, 200, 404, 200, 404, 404, 401, 404, 404, 200),
    "GET /consultation": (401, 200, 200, 200, 200, 200, 401, 200, 200, 200),
    "GET /consultation/{id}": (401, 200, 404, 200, 404, 404, 401, 404, 404, 200),
    # Theirs to see, so the patient learns that it is not theirs to do.
    "POST /consultation/{id}/start": (401, 403, 404, 200, 404, 404, 401, 404, 404, 403),
    "POST /consultation/{id}/complete": (401, 403, 404, 200, 404, 404, 401, 404, 404, 403),
    "POST /consultation/{id}/no-show": (401, 403, 404, 200, 404, 404, 401, 404, 404, 403),
    "POST /consultation/{id}/prescription": (401, 403, 404, 201, 404, 404, 401, 404, 404, 403),
    "GET /consultation/{id}/prescription": (401, 200, 404, 200, 404, 404, 401, 404, 404, 200),
}
ABOUT_A_PATIENT = {name for name in MATRIX if "/appointments/" in name or "/consultation/{id}" in name}


def test_every_operation_is_in_the_matrix() -> None:
    """A new operation has to say who may do it."""
    assert set(MATRIX) == set(operations())


@pytest.mark.parametrize("name", MATRIX)
async def test_everybody_tries(name: str, scenes: Scenes, owner: asyncpg.Connection) -> None:
    """Each gets the status of the matrix; each denial, and each thing done or seen, is in the trail."""
    expected = dict(zip(ACTORS, MATRIX[name], strict=True))
    got: dict[str, int] = {}
    untraced: list[str] = []
    scene = await scenes.of(name)
    for actor in ACTORS:
        caller = await CALLERS[actor](scenes, scene)
        reply = await caller.request(operations()[name].method, scene.path + query_of(scene), scene.body)
        got[actor] = reply.status_code
        if not await is_traced(owner, name, scene, caller, reply.status_code, reply.headers["X-Request-ID"]):
            untraced.append(actor)
        if reply.is_success or actor in CHANGE_THE_SCENE:
            scene = await scenes.of(name)
    assert got == expected
    assert untraced == []


@pytest.mark.parametrize("name", sorted(ABOUT_A_PATIENT))
async def test_what_is_not_ones_own_looks_like_nothing(name: str, scenes: Scenes) -> None:
    """Another patient, another doctor and an admin cannot tell it from an id that nobody has."""
    scene = await scenes.of(name)
    method, nothing = operations()[name].method, "0198f3c2-0000-7000-8000-000000000000"
    for actor in ("other patient", "other doctor", "admin"):
        caller = await CALLERS[actor](scenes, scene)
        replies = [
            (await caller.request(method, path, scene.body)).json()
            for path in (scene.path, scene.path.replace(scene.appointment_id, nothing))
        ]
        first, second = ({key: reply[key] for key in ("type", "title", "status", "detail")} for reply in replies)
        assert first == second, actor
        assert replies[0].keys() == replies[1].keys(), actor


async def is_traced(
    owner: asyncpg.Connection, name: str, scene: Scene, caller: Caller, status: int, request_id: str
) -> bool:
    """Tell whether the trail has what it must have of this request."""
    rows = await owner.fetch("SELECT * FROM audit.records WHERE request_id = $1", request_id)
    if not isinstance(caller, User) or status == 401:
        return True  # somebody unknown: what is written of them is the business of login's tests
    if name in ABOUT_A_PATIENT:
        outcome = "denied" if status in {403, 404} else "allowed"
        return any(
            row["outcome"] == outcome
            and str(row["actor_id"]) == caller.id
            and str(row["patient_id"]) == scene.patient.id
            and (row["entity_id"] == UUID(scene.appointment_id) or row["entity_type"] == "prescription")
            for row in rows
        )
    if status == 403:
        return any(row["outcome"] == "denied" and str(row["actor_id"]) == caller.id for row in rows)
    return status >= 400 or not operations()[name].is_write or bool(rows)


def query_of(scene: Scene) -> str:
    """Write the scene's query; what it holds needs no escape but the offset of an instant, and that is Z."""
    return "?" + "&".join(f"{name}={value}" for name, value in scene.query.items()) if scene.query else ""


async def _nobody(scenes: Scenes, _scene: Scene) -> Caller:
    return scenes.people.nobody


async def _patient(_scenes: Scenes, scene: Scene) -> Caller:
    return scene.patient


async def _other_patient(scenes: Scenes, _scene: Scene) -> Caller:
    return await scenes.people.patient()


async def _doctor(_scenes: Scenes, scene: Scene) -> Caller:
    return scene.doctor


async def _other_doctor(scenes: Scenes, _scene: Scene) -> Caller:
    return await scenes.clinic.doctor()


async def _admin(scenes: Scenes, _scene: Scene) -> Caller:
    return await scenes.people.admin()


async def _logged_out(_scenes: Scenes, scene: Scene) -> Caller:
    reply = await scene.patient.post("/auth/logout")
    assert reply.status_code == 204, reply.text
    return scene.patient


async def _former_doctor(scenes: Scenes, scene: Scene) -> Caller:
    return await _with_role(scenes, scene.doctor, "patient")


async def _former_admin(scenes: Scenes, _scene: Scene) -> Caller:
    return await _with_role(scenes, await scenes.people.admin(), "patient")


async def _new_doctor(scenes: Scenes, scene: Scene) -> Caller:
    return await _with_role(scenes, scene.patient, "doctor")


async def _with_role(scenes: Scenes, user: User, role: str) -> User:
    admin = await scenes.people.admin()
    reply = await admin.post("/auth/admin/role", {"user_id": user.id, "role": role})
    assert reply.status_code == 200, reply.text
    return user


CALLERS: dict[str, Callable[[Scenes, Scene], Awaitable[Caller]]] = {
    "nobody": _nobody,
    "patient": _patient,
    "other patient": _other_patient,
    "doctor": _doctor,
    "other doctor": _other_doctor,
    "admin": _admin,
    "logged out": _logged_out,
    "former doctor": _former_doctor,
    "former admin": _former_admin,
    "new doctor": _new_doctor,
}
CHANGE_THE_SCENE = {"logged out", "former doctor", "new doctor"}
