"""For every operation of the OpenAPI document one request that works, with all that has to be there before.

Tests of the whole API walk over these: with hostile bodies, with other callers, with generated input. An operation
that has none fails them, so that a new route cannot be forgotten.
"""

import copy
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from tests.support.clinic import SLOT, Clinic, doctor_card
from tests.support.openapi import operations
from tests.support.people import Caller, People, User

from telemed.kernel.clock import Clock
from telemed.kernel.text import rfc3339

PASSWORD = "a quiet river under the old bridge"


@dataclass
class Scene:
    """The people and things of one consultation, and a request about them."""

    patient: User
    doctor: User
    slot: dict[str, Any]  # open
    appointment: dict[str, Any] | None = None
    caller: Caller | None = None
    path: str = ""
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None

    @property
    def appointment_id(self) -> str:
        assert self.appointment is not None
        return str(self.appointment["id"])


class Scenes:
    """Sets scenes up: `await scenes.of("POST /booking/slots/book")` has everything but the request sent."""

    def __init__(self, people: People, clinic: Clinic, clock: Clock, owner: asyncpg.Connection) -> None:
        self.owner = owner
        self.people = people
        self.clinic = clinic
        self.clock = clock

    async def of(self, operation: str) -> Scene:
        """Set up what the operation is about, and give the request of who may send it."""
        return await SCENES[operation](self)

    async def open_slot(self) -> Scene:
        """Set up a listed doctor with two open slots, and a patient."""
        doctor = await self.clinic.doctor()
        slots = await self.clinic.slots(doctor, count=2)
        return Scene(await self.people.patient(), doctor, slots[0])

    async def booked(self, *, in_minutes: int = 10) -> Scene:
        """Set up an appointment that begins soon, and an open slot after it."""
        doctor, patient = await self.clinic.doctor(), await self.people.patient()
        first, second = await self.clinic.slots(doctor, 2, starts_at=self.clock.now() + timedelta(minutes=in_minutes))
        reply = await patient.post("/booking/slots/book", {"slot_id": first["id"]})
        assert reply.status_code == 201, reply.text
        return Scene(patient, doctor, second, reply.json())

    async def begin(self, scene: Scene) -> None:
        """Let the appointment's time have come, by moving the appointment: other tokens and visits keep their time."""
        await self.owner.execute(
            "UPDATE booking.appointments SET starts_at = $2, ends_at = $3 WHERE id = $1",
            UUID(scene.appointment_id),
            self.clock.now() - timedelta(minutes=1),
            self.clock.now() + timedelta(minutes=29),
        )

    async def started(self) -> Scene:
        """Set up a visit in progress."""
        scene = await self.booked()
        reply = await scene.doctor.post(f"/consultation/{scene.appointment_id}/start")
        assert reply.status_code == 200, reply.text
        return scene

    async def prescribed(self) -> Scene:
        """Set up a visit in progress with a prescription."""
        scene = await self.started()
        reply = await scene.doctor.post(f"/consultation/{scene.appointment_id}/prescription", example_of(PRESCRIBE))
        assert reply.status_code == 201, reply.text
        return scene


PRESCRIBE = "POST /consultation/{id}/prescription"
SCENES: dict[str, Callable[[Scenes], Awaitable[Scene]]] = {}
SetUp = Callable[[Scenes], Awaitable[Scene]]


def example_of(operation: str) -> Any:
    """Give the body that the document shows as an example."""
    schema = operations()[operation].body_schema
    assert schema is not None
    return copy.deepcopy(schema["example"])


def _scene(operation: str) -> Callable[[SetUp], SetUp]:
    def keep(set_up: SetUp) -> SetUp:
        SCENES[operation] = set_up
        return set_up

    return keep


async def _about_appointment(scene: Scene, caller: str, path: str, body: Any = None) -> Scene:
    scene.caller = scene.doctor if caller == "doctor" else scene.patient
    scene.path = path.format(id=scene.appointment_id)
    scene.body = body
    return scene


@_scene("POST /booking/slots/book")
async def _book(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scene.patient, "/booking/slots/book"
    scene.body = example_of("POST /booking/slots/book") | {"slot_id": scene.slot["id"]}
    return scene


@_scene("GET /booking/appointments")
async def _appointments(scenes: Scenes) -> Scene:
    scene = await scenes.booked()
    scene.caller, scene.path = scene.patient, "/booking/appointments"
    return scene


@_scene("GET /booking/appointments/{appointment_id}")
async def _appointment(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.booked(), "patient", "/booking/appointments/{id}")


@_scene("POST /booking/appointments/{appointment_id}/cancel")
async def _cancel(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.booked(), "patient", "/booking/appointments/{id}/cancel")


@_scene("POST /booking/appointments/{appointment_id}/reschedule")
async def _reschedule(scenes: Scenes) -> Scene:
    scene = await scenes.booked()
    body = {"slot_id": scene.slot["id"]}
    return await _about_appointment(scene, "patient", "/booking/appointments/{id}/reschedule", body)


@_scene("PUT /booking/doctors/me")
async def _write_card(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path, scene.body = scene.doctor, "/booking/doctors/me", doctor_card()
    return scene


@_scene("GET /booking/doctors")
async def _directory(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path, scene.query = scenes.people.nobody, "/booking/doctors", {"limit": 3}
    return scene


@_scene("GET /booking/doctors/{doctor_id}")
async def _card(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scenes.people.nobody, f"/booking/doctors/{scene.doctor.id}"
    return scene


@_scene("POST /booking/slots")
async def _publish(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    start = scenes.clinic.opens_at + timedelta(days=2)
    scene.caller, scene.path = scene.doctor, "/booking/slots"
    scene.body = {"slots": [{"starts_at": rfc3339(start), "ends_at": rfc3339(start + SLOT)}]}
    return scene


@_scene("DELETE /booking/slots/{slot_id}")
async def _withdraw(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scene.doctor, f"/booking/slots/{scene.slot['id']}"
    return scene


@_scene("GET /booking/slots/search")
async def _search(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scenes.people.nobody, "/booking/slots/search"
    scene.query = {"doctor_id": scene.doctor.id, "from": rfc3339(scenes.clock.now())}
    return scene


@_scene("GET /consultation")
async def _consultations(scenes: Scenes) -> Scene:
    scene = await scenes.booked()
    scene.caller, scene.path = scene.doctor, "/consultation"
    return scene


@_scene("GET /consultation/{id}")
async def _consultation(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.booked(), "patient", "/consultation/{id}")


@_scene("POST /consultation/{id}/start")
async def _start(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.booked(), "doctor", "/consultation/{id}/start")


@_scene("POST /consultation/{id}/complete")
async def _complete(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.started(), "doctor", "/consultation/{id}/complete")


@_scene(PRESCRIBE)
async def _prescribe(scenes: Scenes) -> Scene:
    scene = await scenes.started()
    return await _about_appointment(scene, "doctor", "/consultation/{id}/prescription", example_of(PRESCRIBE))


@_scene("GET /consultation/{id}/prescription")
async def _prescription(scenes: Scenes) -> Scene:
    return await _about_appointment(await scenes.prescribed(), "patient", "/consultation/{id}/prescription")


@_scene("POST /consultation/{id}/no-show")
async def _no_show(scenes: Scenes) -> Scene:
    scene = await scenes.booked()
    await scenes.begin(scene)
    return await _about_appointment(scene, "doctor", "/consultation/{id}/no-show")


@_scene("POST /auth/register")
async def _register(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path, scene.body = scenes.people.nobody, "/auth/register", _account()
    return scene


@_scene("POST /auth/login")
async def _login(scenes: Scenes) -> Scene:
    scene, account = await _registered(scenes)
    scene.path, scene.body = "/auth/login", {name: account[name] for name in ("email", "password")}
    return scene


@_scene("POST /auth/refresh")
async def _refresh(scenes: Scenes) -> Scene:
    scene, account = await _registered(scenes)
    reply = await scenes.people.nobody.post("/auth/login", {name: account[name] for name in ("email", "password")})
    assert reply.status_code == 200, reply.text
    scene.path, scene.body = "/auth/refresh", {"refresh_token": reply.json()["refresh_token"]}
    return scene


@_scene("POST /auth/logout")
async def _logout(scenes: Scenes) -> Scene:
    scene = await _refresh(scenes)
    scene.caller, scene.path = scene.patient, "/auth/logout"
    return scene


@_scene("GET /auth/me")
async def _me(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scene.patient, "/auth/me"
    return scene


@_scene("GET /auth/jwks.json")
async def _keys(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = scenes.people.nobody, "/auth/jwks.json"
    return scene


@_scene("POST /auth/admin/role")
async def _role(scenes: Scenes) -> Scene:
    scene = await scenes.open_slot()
    scene.caller, scene.path = await scenes.people.admin(), "/auth/admin/role"
    scene.body = {"user_id": scene.patient.id, "role": "doctor"}
    return scene


@_scene("GET /audit/events")
async def _events(scenes: Scenes) -> Scene:
    scene = await scenes.booked()
    scene.caller, scene.path, scene.query = await scenes.people.admin(), "/audit/events", {"limit": 3}
    return scene


def _account() -> dict[str, Any]:
    return {
        "email": f"new.{secrets.token_hex(8)}@example.com",
        "password": PASSWORD,
        "full_name": "Asha Rao",
        "phone": "+91 98765 43210",
    }


async def _registered(scenes: Scenes) -> tuple[Scene, dict[str, Any]]:
    scene, account = await scenes.open_slot(), _account()
    reply = await scenes.people.nobody.post("/auth/register", account)
    assert reply.status_code == 201, reply.text
    scene.caller = scenes.people.nobody
    return scene, account
