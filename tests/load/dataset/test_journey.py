"""The API on a data set: its people log in, search, book, meet and prescribe like those who came by the API."""

from datetime import timedelta

import asyncpg
import httpx
import pytest
from tests.support.people import Caller

from dataset.cast import PASSWORD
from dataset.plan import Plan
from dataset.tokens import Bearer, Mint, RoleName, bearers
from telemed.kernel.clock import ManualClock
from telemed.kernel.settings import Settings
from telemed.kernel.text import rfc3339

PRESCRIPTION = {
    "items": [{"medicine": "Paracetamol", "dosage": "1", "frequency": "daily", "duration_days": 5}],
}


@pytest.fixture
def enter(api: httpx.AsyncClient, owner: asyncpg.Connection, settings: Settings, clock: ManualClock) -> "Enter":
    """Makes callers of the data set's people."""
    return Enter(api, owner, settings, clock)


class Enter:
    """Lets people of the data set in without a login."""

    def __init__(
        self, api: httpx.AsyncClient, owner: asyncpg.Connection, settings: Settings, clock: ManualClock
    ) -> None:
        self._api, self._owner, self._clock = api, owner, clock
        self._mint = Mint(settings)

    async def somebody(self, role: RoleName, *, skip: int = 0) -> Caller:
        """Give the person of this number."""
        # The clock of the tests stands before the machine's, and with it the session's end.
        (bearer,) = await bearers(self._owner, role, 1, skip=skip, now=self._clock.now())
        return self.caller(bearer)

    async def person(self, user_id: str) -> Caller:
        """Give somebody by their id."""
        everybody = await bearers(self._owner, "doctor", 1000, now=self._clock.now())
        (bearer,) = [one for one in everybody if str(one.id) == user_id]
        return self.caller(bearer)

    def caller(self, bearer: Bearer) -> Caller:
        """Give them a token."""
        return Caller(self._api, self._mint.tokens(bearer, now=self._clock.now()).access_token)


async def test_a_newcomer_books_and_the_doctor_sees_them(loaded: Plan, enter: Enter, clock: ManualClock) -> None:
    """Search, book, start, prescribe, complete: every step is allowed, and the slot is gone from search."""
    patient = await enter.somebody("patient", skip=loaded.patients_with_visits)
    found = (await patient.get("/booking/slots/search", limit=5)).json()["items"]
    slot = found[0]

    booked = await patient.post("/booking/slots/book", {"slot_id": slot["id"], "reason": "A cough"})

    assert booked.status_code == 201, booked.text
    again = (await patient.get("/booking/slots/search", limit=5)).json()["items"]
    assert again[0]["id"] == found[1]["id"]
    doctor = await enter.person(slot["doctor"]["id"])
    clock.advance(timedelta(minutes=20))
    doctor = await enter.person(slot["doctor"]["id"])
    visit = f"/consultation/{booked.json()['id']}"
    for step, body in (("start", None), ("prescription", PRESCRIPTION), ("complete", None)):
        reply = await doctor.post(f"{visit}/{step}", body)
        assert reply.is_success, reply.text


async def test_everybody_logs_in_with_the_one_password(loaded: Plan, api: httpx.AsyncClient) -> None:
    """The shared hash is of this deployment, and the addresses are those of the README."""
    for email in ("patient.0000000.s7", "doctor.0000003.s7", "admin.0000000.s7"):
        account = {"email": f"{email}@load.example.com", "password": PASSWORD}

        reply = await api.post("/auth/login", json=account)

        assert reply.status_code == 200, reply.text


async def test_a_minted_refresh_token_works_like_a_logins(
    loaded: Plan, api: httpx.AsyncClient, owner: asyncpg.Connection, settings: Settings, clock: ManualClock
) -> None:
    """Load tests that outlive an access token refresh it as clients do."""
    (bearer,) = await bearers(owner, "patient", 1, seed=loaded.seed, now=clock.now())
    tokens = Mint(settings).tokens(bearer, now=clock.now())

    reply = await api.post("/auth/refresh", json={"refresh_token": tokens.refresh_token})

    assert reply.status_code == 200, reply.text
    me = await Caller(api, reply.json()["access_token"]).get("/auth/me")
    assert me.json()["email"] == bearer.email


async def test_history_is_shown_to_its_patient_and_to_nobody_else(
    loaded: Plan, enter: Enter, owner: asyncpg.Connection
) -> None:
    """Appointments, consultations and prescriptions of the past read like any other."""
    row = await owner.fetchrow(
        """
        SELECT a.id, a.patient_id, u.email, p.diagnosis FROM booking.appointments AS a
        JOIN auth.users AS u ON u.id = a.patient_id JOIN consultation.prescriptions AS p ON p.consultation_id = a.id
        ORDER BY a.id LIMIT 1
        """
    )
    assert row is not None
    number = int(row["email"].split(".")[1])
    patient, other = await enter.somebody("patient", skip=number), await enter.somebody("patient", skip=number + 1)

    prescription = await patient.get(f"/consultation/{row['id']}/prescription")
    consultation = await patient.get(f"/consultation/{row['id']}")
    appointments = await patient.get("/booking/appointments", limit=100)

    assert prescription.json()["diagnosis"] == row["diagnosis"], prescription.text
    assert consultation.json()["status"] == "completed"
    assert str(row["id"]) in {item["id"] for item in appointments.json()["items"]}
    assert (await other.get(f"/consultation/{row['id']}")).status_code == 404


async def test_a_booked_slot_is_taken_and_a_cancelled_one_can_be_had(
    loaded: Plan, enter: Enter, owner: asyncpg.Connection, clock: ManualClock
) -> None:
    """Versions and states are such that the walls and the steps work on them."""
    newcomer = await enter.somebody("patient", skip=loaded.patients_with_visits)
    taken = await owner.fetchrow(
        "SELECT * FROM booking.appointments WHERE status = 'booked' AND starts_at > $1 ORDER BY id LIMIT 1",
        clock.now() + timedelta(hours=1),
    )
    assert taken is not None
    holder_number = int(
        (await owner.fetchval("SELECT email FROM auth.users WHERE id = $1", taken["patient_id"])).split(".")[1]
    )
    holder = await enter.somebody("patient", skip=holder_number)

    refused = await newcomer.post("/booking/slots/book", {"slot_id": str(taken["slot_id"])})
    cancelled = await holder.post(f"/booking/appointments/{taken['id']}/cancel")
    booked = await newcomer.post("/booking/slots/book", {"slot_id": str(taken["slot_id"])})

    assert (refused.status_code, cancelled.status_code, booked.status_code) == (409, 200, 201), refused.text


async def test_a_doctor_publishes_more_after_what_is_there(loaded: Plan, enter: Enter, clock: ManualClock) -> None:
    """A slot that overlaps a loaded one is refused, and one after all of them is not."""
    doctor = await enter.somebody("doctor")
    free_at = clock.now() + timedelta(days=200)
    doctor_id = (await doctor.get("/auth/me")).json()["id"]
    (mine,) = (await doctor.get("/booking/slots/search", doctor_id=doctor_id, limit=1)).json()["items"]

    times = {"starts_at": mine["starts_at"], "ends_at": mine["ends_at"]}
    overlap = await doctor.post("/booking/slots", {"slots": [times]})
    published = await doctor.post(
        "/booking/slots",
        {"slots": [{"starts_at": rfc3339(free_at), "ends_at": rfc3339(free_at + timedelta(minutes=30))}]},
    )

    assert (overlap.status_code, published.status_code) == (409, 201), overlap.text
