"""The platform's main job from the first account to the proof of it, as a client sees it who has read the design only.

Nothing of ours is used but what starts processes: requests are written out, so that a change of the API shows here.
"""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.commands import telemed
from tests.support.databases import TestDatabase
from tests.support.ledger import caught_up
from tests.support.platform import Platform

from telemed.kernel.settings import Settings

PASSWORD = "seven sailors sing softly"


@pytest.fixture
def database(fresh_database: TestDatabase) -> TestDatabase:
    """The whole trail is looked at, so it is nobody else's."""
    return fresh_database


class Client:
    """A client of the HTTP API with somebody's access token."""

    def __init__(self, http: httpx.AsyncClient, token: str | None = None) -> None:
        self._http = http
        self.token = token

    async def call(self, method: str, path: str, status: int, **request: Any) -> Any:
        """Send a request, expect the status, and give the JSON."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if method != "GET":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        reply = await self._http.request(method, path, headers=headers, **request)
        assert reply.status_code == status, (method, path, reply.status_code, reply.text)
        assert reply.headers["X-Request-ID"]
        if status >= 400:
            assert reply.headers["Content-Type"] == "application/problem+json"
        if "Location" in reply.headers:
            assert (await self._http.get(reply.headers["Location"], headers=headers)).status_code == 200
        return reply.json() if reply.content else None

    async def log_in(self, email: str) -> dict[str, Any]:
        """Become this user."""
        tokens = await Client(self._http).call("POST", "/auth/login", 200, json={"email": email, "password": PASSWORD})
        assert tokens["token_type"] == "bearer"
        self.token = tokens["access_token"]
        return dict(tokens)


@pytest.mark.parametrize("names", [("all",), ("auth", "booking", "consultation")], ids=["combined", "separate"])
async def test_from_the_first_account_to_the_proof(
    platform_processes: Platform, settings: Settings, owner: asyncpg.Connection, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """A patient finds a slot, books it, meets the doctor, leaves with a prescription; every step is in the trail."""
    await platform_processes.serve(*names)
    await platform_processes.work()
    http = platform_processes.client

    asha, ravi, admin = Client(http), Client(http), Client(http)
    patient = await registered(asha, "asha@example.com", "Asha Rao")
    doctor = await registered(ravi, "ravi@example.com", "Ravi Menon")
    made = await telemed(settings, "admin", "create", "--email", "root@example.com", "--password-stdin", stdin=PASSWORD)
    assert made.code == 0, made.errors
    await admin.log_in("root@example.com")

    await make_doctor(admin, ravi, doctor)
    slots = await publish(ravi)
    consultation = await find_and_book(asha, patient, doctor, slots)
    await meet(asha, ravi, consultation)
    await look_back(asha, ravi, consultation)
    await end_session(asha)
    await read_trail(admin, patient, doctor, consultation)

    await caught_up(owner)
    file = str(tmp_path / "checkpoints")
    assert (await telemed(settings, "audit", "checkpoint", "--out", file)).code == 0
    verified = await telemed(settings, "audit", "verify", "--checkpoints", file)
    assert (verified.code, verified.output.split(":")[0]) == (0, "INTACT"), verified


async def registered(client: Client, email: str, full_name: str) -> dict[str, Any]:
    """Make an account and log in with it."""
    body = {"email": email, "password": PASSWORD, "full_name": full_name, "phone": "+91 98765 43210"}
    # No `Location` is followed yet: the account belongs to whoever logs in.
    reply = await client._http.post("/auth/register", json=body)
    assert reply.status_code == 201, reply.text
    user: dict[str, Any] = reply.json()
    assert {"email": email, "full_name": full_name, "role": "patient"}.items() <= user.items()
    assert (await client.call("POST", "/auth/register", 409, json=body))["type"] == "email-taken"
    assert (await client.call("GET", "/auth/me", 401))["type"] == "not-authenticated"
    await client.log_in(email)
    assert await client.call("GET", "/auth/me", 200) == user
    return user


async def make_doctor(admin: Client, ravi: Client, doctor: dict[str, Any]) -> None:
    """An administrator gives the role; the token that is out already may now write the doctor's entry."""
    entry = {
        "specialization": "Dermatology",
        "languages": ["en", "ml"],
        "fee": {"amount_minor": 70_000, "currency": "INR"},
        "time_zone": "Asia/Kolkata",
        "bio": "Skin, hair and nails.",
        "registration_number": "TCMC-4711",
    }
    await ravi.call("PUT", "/booking/doctors/me", 403, json=entry)
    body = {"email": doctor["email"], "role": "doctor"}
    await ravi.call("POST", "/auth/admin/role", 403, json=body)
    changed = await admin.call("POST", "/auth/admin/role", 200, json=body)
    assert (changed["id"], changed["role"]) == (doctor["id"], "doctor")
    written = await ravi.call("PUT", "/booking/doctors/me", 200, json=entry)
    assert written == entry | {"id": doctor["id"], "full_name": "Ravi Menon"}
    seen = await Client(ravi._http).call("GET", f"/booking/doctors/{doctor['id']}", 200)
    assert (seen["specialization"], seen.get("registration_number")) == ("Dermatology", None)


async def publish(ravi: Client) -> list[dict[str, Any]]:
    """One slot begins in five minutes, so that its visit may start now; the others come after it."""
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    times = [
        {
            "starts_at": (first + timedelta(minutes=20 * place)).isoformat(),
            "ends_at": (first + timedelta(minutes=20 * (place + 1))).isoformat(),
        }
        for place in range(3)
    ]
    published = await ravi.call("POST", "/booking/slots", 201, json={"slots": times})
    assert [slot["status"] for slot in published["items"]] == ["open"] * 3
    assert (await ravi.call("POST", "/booking/slots", 409, json={"slots": times[:1]}))["type"] == "slot-overlap"
    await ravi.call("DELETE", f"/booking/slots/{published['items'][2]['id']}", 204)
    return list(published["items"][:2])


async def find_and_book(
    asha: Client, patient: dict[str, Any], doctor: dict[str, Any], slots: list[dict[str, Any]]
) -> str:
    """The patient sees both slots, books the second, and moves to the first."""
    anybody = Client(asha._http)
    query = {"specialization": "dermatology", "language": "ml", "max_fee_minor": 70_000}
    found = await anybody.call("GET", "/booking/slots/search", 200, params=query)
    assert [item["id"] for item in found["items"]] == [slot["id"] for slot in slots]
    assert found["items"][0]["doctor"]["full_name"] == "Ravi Menon"
    assert found["items"][0]["doctor"]["fee"] == {"amount_minor": 70_000, "currency": "INR"}
    body = {"slot_id": slots[1]["id"], "reason": "An itch"}
    booked = await asha.call("POST", "/booking/slots/book", 201, json=body)
    expected = {"status": "booked", "doctor_id": doctor["id"], "patient_id": patient["id"], "reason": "An itch"}
    assert (expected | {"slot_id": slots[1]["id"]}).items() <= booked.items()
    assert (await asha.call("POST", "/booking/slots/book", 409, json=body))["type"] == "slot-taken"
    found = await anybody.call("GET", "/booking/slots/search", 200, params=query)
    assert [item["id"] for item in found["items"]] == [slots[0]["id"]]
    moved = await asha.call(
        "POST", f"/booking/appointments/{booked['id']}/reschedule", 200, json={"slot_id": slots[0]["id"]}
    )
    found = await anybody.call("GET", "/booking/slots/search", 200, params=query)
    assert [item["id"] for item in found["items"]] == [slots[1]["id"]]
    before = await asha.call("GET", f"/booking/appointments/{booked['id']}", 200)
    assert before["status"] == "rescheduled"
    return str(moved["id"])


async def meet(asha: Client, ravi: Client, consultation: str) -> None:
    """The doctor starts the visit, prescribes, corrects the prescription, and completes the visit."""
    at = f"/consultation/{consultation}"
    first = {
        "diagnosis": "Contact dermatitis",
        "items": [
            {"medicine": "Hydrocortisone 1 % cream", "dosage": "thin layer", "frequency": "twice", "duration_days": 7}
        ],
        "advice": "Leave the new soap.",
        "follow_up_on": (datetime.now(UTC) + timedelta(days=10)).date().isoformat(),
    }
    assert (await ravi.call("POST", f"{at}/prescription", 409, json=first))["state"] == "booked"
    await asha.call("POST", f"{at}/start", 403)
    started = await ravi.call("POST", f"{at}/start", 200)
    assert (started["status"], started["id"]) == ("in_progress", consultation)
    await asha.call("POST", f"/booking/appointments/{consultation}/cancel", 409)
    await asha.call("GET", f"{at}/prescription", 404)
    one = await ravi.call("POST", f"{at}/prescription", 201, json=first)
    assert (one["version"], one["supersedes"], one["consultation_id"]) == (1, None, consultation)
    two = await ravi.call("POST", f"{at}/prescription", 201, json=first | {"advice": "Leave the new soap for good."})
    assert (two["version"], two["supersedes"]) == (2, one["id"])
    current = await asha.call("GET", f"{at}/prescription", 200)
    assert (current["id"], [old["id"] for old in current["history"]]) == (two["id"], [one["id"]])
    completed = await ravi.call("POST", f"{at}/complete", 200)
    assert (completed["status"], completed["completed_at"] >= completed["started_at"]) == ("completed", True)


async def look_back(asha: Client, ravi: Client, consultation: str) -> None:
    """Both find the visit in their lists."""
    for client in (asha, ravi):
        appointments = await client.call("GET", "/booking/appointments", 200)
        assert sorted(item["status"] for item in appointments["items"]) == ["completed", "rescheduled"]
        visits = await client.call("GET", "/consultation", 200, params={"status": "completed"})
        assert [item["id"] for item in visits["items"]] == [consultation]


async def end_session(asha: Client) -> None:
    """After a refresh and a logout no token of the session is worth anything, in any service."""
    tokens = await asha.log_in("asha@example.com")
    renewed = await Client(asha._http).call(
        "POST", "/auth/refresh", 200, json={"refresh_token": tokens["refresh_token"]}
    )
    asha.token = renewed["access_token"]
    await asha.call("POST", "/auth/logout", 204)
    for path in ("/auth/me", "/booking/appointments", "/consultation"):
        await asha.call("GET", path, 401)
    await Client(asha._http).call("POST", "/auth/refresh", 401, json={"refresh_token": renewed["refresh_token"]})


async def read_trail(admin: Client, patient: dict[str, Any], doctor: dict[str, Any], consultation: str) -> None:
    """Every step is there, with who did it; so are the refusals, and the looks at the patient's data."""
    steps = {
        (patient["id"], "allowed"): {
            "session.login",
            "appointment.book",
            "appointment.reschedule",
            "appointment.read",
            "consultation.read",
            "prescription.read",
            "session.refresh",
            "session.logout",
            "user.read",
        },
        (patient["id"], "denied"): {"consultation.start"},
        (doctor["id"], "allowed"): {
            "doctor.write",
            "slot.publish",
            "slot.withdraw",
            "consultation.start",
            "prescription.issue",
            "consultation.complete",
        },
        (doctor["id"], "denied"): {"access.role"},
    }
    for (actor, outcome), expected in steps.items():
        records = await all_events(admin, actor_id=actor, outcome=outcome)
        assert expected <= {record["action"] for record in records}, (outcome, expected)
        assert {record["actor_id"] for record in records} == {actor}
    about = await all_events(admin, entity_id=consultation)
    assert {"appointment.book", "consultation.start", "consultation.complete"} <= {one["action"] for one in about}
    assert {one["patient_id"] for one in about} == {patient["id"]}
    (change,) = await all_events(admin, action="user.change_role")
    assert (change["entity_id"], change["details"]["role"]) == (doctor["id"], "doctor")
    assert "itch" not in str(about)
    assert "dermatitis" not in str(about)


async def all_events(admin: Client, **filters: str) -> list[dict[str, Any]]:
    """Walk the pages of the trail."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await admin.call("GET", "/audit/events", 200, params={"limit": "20"} | filters | cursor)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
