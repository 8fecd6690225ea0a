"""A whole case of one patient, in which every field is a marker; and failures that tempt to quote them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
from tests.observability.contract.markers import Markers
from tests.observability.contract.stage import Stage
from tests.observability.contract.walk import Walk
from tests.support.people import Caller
from tests.support.stalls import BOOK
from tests.support.waiting import until

from telemed.kernel.text import rfc3339
from telemed.worker.rules import MAX_ATTEMPTS

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOGIN = "/auth/login"


class Temptations:
    """The case, told through the API; *walk* has the people and the servers."""

    def __init__(self, stage: Stage, walk: Walk, owner: asyncpg.Connection, markers: Markers) -> None:
        self._stage = stage
        self._walk = walk
        self._owner = owner
        self._markers = markers
        # What a client sends of itself with every request, and none of which is of a form that we keep.
        self._headers = {
            "User-Agent": markers["user_agent"],
            "X-Request-ID": f"{markers['request_id']} of a form that is none",
            "tracestate": f"vendor={markers['tracestate']}",
            "baggage": f"patient={markers['baggage']}",
        }

    async def tell(self) -> None:
        """Tell all of it."""
        patient = await self._registered("email", "full_name", "password")
        doctor = await self._registered("doctor_email", "doctor_name", "password")
        await self._listed(doctor)
        await self._searches(doctor)
        appointment = await self._booked(patient, doctor)
        await self._searches(doctor)  # now there is something to find, and to keep
        await self._met(patient, doctor, appointment)
        await self._nonsense(patient)
        await self._faults_of_the_database(patient, doctor, appointment)
        await self._faults_of_the_worker(doctor)
        await self._sessions()  # last, as a token that is used again ends every session of its user

    async def _registered(self, email: str, name: str, password: str) -> Caller:
        nobody = Caller(self._stage.platform.client, headers=self._headers)
        account = {
            "email": f"{self._markers[email]}@example.com",
            "password": self._markers[password],
            "full_name": self._markers[name],
            "phone": self._markers["phone"],
        }
        reply = await nobody.post("/auth/register", account, key=self._markers["idempotency_key"])
        assert reply.status_code == 201, reply.text
        await nobody.post("/auth/register", account)  # 409
        tokens = await self._logged_in(email)
        return Caller(self._stage.platform.client, tokens["access_token"], self._headers)

    async def _logged_in(self, email: str) -> dict[str, Any]:
        body = {"email": f"{self._markers[email]}@example.com", "password": self._markers["password"]}
        reply = await Caller(self._stage.platform.client, headers=self._headers).post(
            LOGIN, body, key=f"{self._markers['idempotency_key']}-login"
        )
        assert reply.status_code == 200, reply.text
        tokens: dict[str, Any] = reply.json()
        self._markers.keep("access token", tokens["access_token"].rsplit(".", 1)[1])
        self._markers.keep("refresh token", tokens["refresh_token"])
        return tokens

    async def _listed(self, doctor: Caller) -> None:
        admin = await self._walk.people.admin()
        role = {"email": f"{self._markers['doctor_email']}@example.com", "role": "doctor"}
        assert (await admin.post("/auth/admin/role", role)).status_code == 200
        card = {
            "specialization": self._markers["specialization"],
            "languages": ["en"],
            "fee": {"amount_minor": 50_000, "currency": "INR"},
            "time_zone": "Asia/Kolkata",
            "bio": self._markers["bio"],
            "registration_number": self._markers["registration_number"],
        }
        reply = await doctor.put("/booking/doctors/me", card)
        assert reply.status_code == 200, reply.text

    async def _searches(self, doctor: Caller) -> None:
        nobody = Caller(self._stage.platform.client, headers=self._headers)
        for _ in range(2):
            for word in ("search", "specialization"):
                await nobody.get("/booking/slots/search", specialization=self._markers[word])
                await nobody.get("/booking/doctors", specialization=self._markers[word])
        await doctor.get("/booking/appointments")

    async def _booked(self, patient: Caller, doctor: Caller) -> str:
        first, second = await self._slots(doctor, 2, in_minutes=10)
        body = {"slot_id": first, "reason": self._markers["reason"]}
        key = self._markers["idempotency_key"]
        reply = await patient.post(BOOK, body, key=key)
        assert reply.status_code == 201, reply.text
        await patient.post(BOOK, body, key=key)
        await patient.post(BOOK, body | {"slot_id": second}, key=key)  # 422: the key was used
        await (await self._walk.people.patient()).post(BOOK, body)  # 409: taken
        await self._busy(patient)
        return str(reply.json()["id"])

    async def _busy(self, patient: Caller) -> None:
        """Let the wall of the database say no: its error quotes the two intervals."""
        other = await self._walk.clinic.doctor()
        (slot,) = await self._slots(other, 1, in_minutes=10)
        reply = await patient.post(BOOK, {"slot_id": slot, "reason": self._markers["reason"]})
        assert reply.status_code == 409, reply.text

    async def _slots(self, doctor: Caller, count: int, *, in_minutes: int) -> list[str]:
        first = self._walk.scenes.clock.now() + timedelta(minutes=in_minutes)
        starts = [first + timedelta(minutes=30 * place) for place in range(count)]
        times = [{"starts_at": rfc3339(start), "ends_at": rfc3339(start + timedelta(minutes=30))} for start in starts]
        reply = await doctor.post("/booking/slots", {"slots": times})
        assert reply.status_code == 201, reply.text
        return [slot["id"] for slot in reply.json()["items"]]

    async def _met(self, patient: Caller, doctor: Caller, appointment: str) -> None:
        at = f"/consultation/{appointment}"
        assert (await doctor.post(f"{at}/start")).status_code == 200
        reply = await doctor.post(f"{at}/prescription", self.prescription(), key=self._markers["idempotency_key"])
        assert reply.status_code == 201, reply.text
        for reader in (patient, doctor):
            for path in (at, f"{at}/prescription", f"/booking/appointments/{appointment}", "/consultation"):
                assert (await reader.get(path)).status_code == 200
        await patient.post(f"{at}/prescription", self.prescription())  # 403
        await (await self._walk.people.doctor()).post(f"{at}/prescription", self.prescription())  # 404

    def prescription(self, **changes: Any) -> dict[str, Any]:
        """Give a prescription of markers."""
        item = {name: self._markers[name] for name in ("medicine", "dosage", "frequency", "instructions")}
        return {
            "diagnosis": self._markers["diagnosis"],
            "items": [item | {"duration_days": 7}],
            "advice": self._markers["advice"],
        } | changes

    async def _nonsense(self, patient: Caller) -> None:
        """Put markers wherever a client can type something."""
        made = self._markers
        await patient.request("POST", BOOK, content=f'{{"reason": "{made["reason"]}", {made["json"]}'.encode())
        await patient.post(BOOK, {"slot_id": made["json"], "reason": [made["reason"]], made["field_name"]: 1})
        await patient.post(BOOK, {"slot_id": made["json"], "reason": made["reason"] + "\x00"})
        await patient.get("/booking/appointments", cursor=made["query"], limit=made["query"])
        await patient.get("/booking/slots/search", from_=made["query"], q=made["query"])
        for path in (
            f"/booking/doctors/{made['path']}",
            f"/consultation/{made['path']}/start",
            f"/booking/{made['path']}",
        ):
            await patient.get(path)
            await patient.post(path, {})
        await patient.get("/booking/doctors", headers={"traceparent": f"00-{made['traceparent']}-01"})
        await patient.get("/booking/doctors", headers={"traceparent": SAMPLED})
        await Caller(patient.client, made["json"], self._headers).get("/auth/me")
        await patient.post("/auth/refresh", {"refresh_token": made["json"]})

    async def _sessions(self) -> None:
        """Rotate, use an old token again, log out; and guess until nobody may."""
        nobody = Caller(self._stage.platform.client, headers=self._headers)
        tokens = await self._logged_in("doctor_email")
        reply = await nobody.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
        self._markers.keep("refresh token", reply.json()["refresh_token"])
        self._markers.keep("access token", reply.json()["access_token"].rsplit(".", 1)[1])
        await nobody.post("/auth/logout", {"refresh_token": reply.json()["refresh_token"]})
        await nobody.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})  # 401
        guess = {"email": f"{self._markers['email']}@example.com", "password": self._markers["wrong_password"]}
        for _ in range(12):
            await nobody.post(LOGIN, guess)

    async def _faults_of_the_database(self, patient: Caller, doctor: Caller, appointment: str) -> None:
        """Let it raise what we do not know, with a row or the value in its text: 500."""
        text = self._markers["fault_of_database"]
        (slot,) = await self._slots(doctor, 1, in_minutes=300)
        async with self._raising("booking.appointments", f"'{text}: cannot store this'"):
            await self._expect_500(patient, BOOK, {"slot_id": slot, "reason": self._markers["reason"]})
        # A wall that no service knows: "Failing row contains (…)".
        await self._owner.execute(
            "ALTER TABLE consultation.prescriptions ADD CONSTRAINT unforeseen CHECK (advice IS NULL) NOT VALID"
        )
        await self._expect_500(doctor, f"/consultation/{appointment}/prescription", self.prescription())
        await self._owner.execute("ALTER TABLE consultation.prescriptions DROP CONSTRAINT unforeseen")

    async def _expect_500(self, caller: Caller, path: str, body: Any) -> None:
        reply: httpx.Response = await caller.post(path, body, key=f"{self._markers['idempotency_key']}-500")
        assert reply.status_code == 500, (path, reply.status_code, reply.text)

    async def _faults_of_the_worker(self, doctor: Caller) -> None:
        """Let a subscriber fail until its event is parked, and a job fail."""
        worker = self._stage.processes["worker"]
        async with self._raising("platform.handled_events", f"'{self._markers['fault_of_subscriber']}'"):
            await self._slots(doctor, 1, in_minutes=600)
            await until(lambda: bool(worker.logged("event.failed")))
            await until(lambda: self._moved("last_error IS NOT NULL"))
            await self._owner.execute(
                "UPDATE platform.outbox SET attempts = $1, available_at = now() WHERE last_error IS NOT NULL",
                MAX_ATTEMPTS - 1,
            )
            await until(lambda: self._moved("parked_at IS NOT NULL"), within_seconds=20)
        async with self._raising("audit.chain", f"'{self._markers['fault_of_job']}'"):
            await self._slots(doctor, 1, in_minutes=700)
            await until(lambda: bool(worker.logged("job.failed")), within_seconds=20)

    async def _moved(self, condition: str) -> bool:
        return bool(await self._owner.fetchval(f"SELECT count(*) FROM platform.outbox WHERE {condition}"))

    @asynccontextmanager
    async def _raising(self, table: str, text: str) -> AsyncIterator[None]:
        """Let the table refuse every new row with this text."""
        await self._owner.execute(
            f"CREATE FUNCTION public.fault() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '%', {text}; END $$"
        )
        await self._owner.execute(
            f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.fault()"
        )
        try:
            yield
        finally:
            await self._owner.execute(f"DROP TRIGGER fault ON {table}")
            await self._owner.execute("DROP FUNCTION public.fault()")
