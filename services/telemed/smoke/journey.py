"""The journey: a doctor publishes, a patient finds and books, both read, others are refused, all is taken back."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from telemed.kernel.text import rfc3339
from telemed.smoke import leftovers
from telemed.smoke.cast import SPECIALIZATION, Cast, Person
from telemed.smoke.client import Address, Caller
from telemed.smoke.failure import Failure
from telemed.smoke.run import Run

# So far ahead that no person who looks for a doctor comes upon it, and within a range, so that runs at the same time
# rarely choose the same place.
_AHEAD = timedelta(days=360)
_WITHIN_SECONDS = 7 * 24 * 3600
_LASTS = timedelta(minutes=5)
_PLACES_TRIED = 5

_ENTRY = {
    "specialization": SPECIALIZATION,
    "languages": ["en"],
    "fee": {"amount_minor": 0, "currency": "INR"},
    "time_zone": "UTC",
    "bio": "Not a person: `telemed smoke` proves with this entry that the platform works. Please do not book.",
    "registration_number": "SYNTHETIC",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """The slot of this run."""

    id: str
    starts_at: str


class Journey:
    """Plays the cast in one run. `play` is all of it; nothing of it is left when it returns, save the accounts."""

    def __init__(self, addresses: dict[str, Address], cast: Cast, run: Run) -> None:
        self._run = run
        self._cast = cast
        self._doctor = Caller("the doctor", addresses, run)
        self._patient = Caller("the patient", addresses, run)
        self._other = Caller("the other patient", addresses, run)
        self._doctor_id = ""

    def play(self) -> None:
        """Take every step.

        Raises:
            Failure: one of them did not do what is promised.
            Stopped: there was no time for all of them.
        """
        self._enter()
        self._run.is_arriving = False
        slot = self._publish()
        with self._run.step("search shows the slot"):
            self._require_shown(slot, because="though its publication was acknowledged")
        appointment = self._book(slot)
        self._read_back(slot, appointment)
        self._refuse_others(slot, appointment)
        self._take_back(slot, appointment)
        self._leave()

    def _enter(self) -> None:
        with self._run.step("the doctor logs in"):
            self._log_in(self._doctor, self._cast.doctor, may_register=False)
            me = self._doctor.expect(200, "GET", "/auth/me")
            if me["role"] != "doctor":
                raise Failure(f"the account is that of a {me['role']}; give it the role of a doctor.")
            self._doctor_id = str(me["id"])
        with self._run.step("two patients log in"):
            self._log_in(self._patient, self._cast.patient, may_register=True)
            self._log_in(self._other, self._cast.other, may_register=True)
        with self._run.step("the doctor is listed"):
            self._doctor.expect(200, "PUT", "/booking/doctors/me", _ENTRY)
        with self._run.step("what runs before left behind is taken away"):
            self._doctor.expect(200, "GET", "/consultation?limit=1")
            leftovers.remove(self._doctor, self._doctor_id)

    def _log_in(self, caller: Caller, person: Person, *, may_register: bool) -> None:
        given = {"email": person.email, "password": person.password}
        answer = caller.send("POST", "/auth/login", given)
        if answer.problem == "invalid-credentials" and may_register:
            made = caller.send("POST", "/auth/register", given | {"full_name": person.name})
            if made.problem != "email-taken":  # another run was quicker
                caller.require(made, 201, "POST /auth/register")
            answer = caller.send("POST", "/auth/login", given)
        if answer.problem == "invalid-credentials":
            raise Failure(
                f"{caller.addresses['auth']} refuses the password of {person.email}; if the account was made by this "
                "command, auth has another database or another PEPPER (JWT_SECRET)."
            )
        caller.require(answer, 200, "POST /auth/login")
        caller.token = str(answer.body["access_token"])
        self._run.to_undo(f"the session of {caller.name}", partial(self._log_out, caller))

    def _publish(self) -> Slot:
        with self._run.step("the doctor publishes a slot"):
            for _ in range(_PLACES_TRIED):
                starts = self._run.clock.now().replace(microsecond=0) + _AHEAD
                starts += timedelta(seconds=secrets.randbelow(_WITHIN_SECONDS))
                times = {"starts_at": rfc3339(starts), "ends_at": rfc3339(starts + _LASTS)}
                self._run.to_undo("the slot", partial(self._withdraw_at, times["starts_at"]))
                answer = self._doctor.send("POST", "/booking/slots", {"slots": [times]})
                if answer.status == 201:
                    return Slot(str(answer.body["items"][0]["id"]), times["starts_at"])
                if answer.problem != "slot-overlap":
                    break
                self._run.undone("the slot")  # another run has the place; nothing was made
            raise Failure(self._doctor.complaint(answer, "POST /booking/slots", "201"))

    def _book(self, slot: Slot) -> str:
        with self._run.step("a patient books it"):
            self._run.to_undo("the appointment", lambda: leftovers.cancel_of_slot(self._patient, slot.id))
            wanted = {"slot_id": slot.id, "reason": "Synthetic: telemed smoke."}
            appointment = self._patient.expect(201, "POST", "/booking/slots/book", wanted)
        with self._run.step("search shows it no longer"):
            self._require_hidden(slot, because="though it is booked")
        return str(appointment["id"])

    def _read_back(self, slot: Slot, appointment_id: str) -> None:
        with self._run.step("the patient reads the appointment and the consultation back at once"):
            appointment = self._patient.expect(200, "GET", f"/booking/appointments/{appointment_id}")
            _require(appointment, "the appointment", slot_id=slot.id, status="booked", doctor_id=self._doctor_id)
            visit = self._patient.expect(200, "GET", f"/consultation/{appointment_id}")
            _require(visit, "the consultation", id=appointment_id, status="booked", doctor_id=self._doctor_id)
        with self._run.step("the doctor reads the consultation"):
            self._doctor.expect(200, "GET", f"/consultation/{appointment_id}")

    def _refuse_others(self, slot: Slot, appointment_id: str) -> None:
        with self._run.step("another patient is refused the slot"):
            answer = self._other.send("POST", "/booking/slots/book", {"slot_id": slot.id})
            if (answer.status, answer.problem) != (409, "slot-taken"):
                if answer.status == 201:
                    leftovers.cancel_of_slot(self._other, slot.id)
                raise Failure(self._other.complaint(answer, "POST /booking/slots/book", "409 slot-taken"))
        with self._run.step("to a stranger neither appointment nor consultation exists"):
            for path in (f"/booking/appointments/{appointment_id}", f"/consultation/{appointment_id}"):
                self._other.expect(404, "GET", path)

    def _take_back(self, slot: Slot, appointment_id: str) -> None:
        with self._run.step("the patient cancels"):
            cancelled = self._patient.expect(200, "POST", f"/booking/appointments/{appointment_id}/cancel")
            self._run.undone("the appointment")
            _require(cancelled, "the appointment", status="cancelled")
        with self._run.step("search shows the slot again"):
            self._require_shown(slot, because="though its appointment was cancelled")
        with self._run.step("the doctor withdraws it"):
            self._doctor.expect(204, "DELETE", f"/booking/slots/{slot.id}")
            self._run.undone("the slot")
        with self._run.step("search shows it no more"):
            self._require_hidden(slot, because="though it is withdrawn")

    def _leave(self) -> None:
        with self._run.step("everybody logs out, and their tokens are refused"):
            for caller in (self._doctor, self._patient, self._other):
                self._log_out(caller)
                caller.expect(401, "GET", "/auth/me")

    def _log_out(self, caller: Caller) -> None:
        caller.expect(204, "POST", "/auth/logout")
        self._run.undone(f"the session of {caller.name}")

    def _withdraw_at(self, starts_at: str) -> None:
        """Take back the slot that was published for this moment, whether its answer came or not."""
        for slot in leftovers.open_slots(self._doctor, self._doctor_id):
            if slot["starts_at"] == starts_at:
                leftovers.withdraw(self._doctor, str(slot["id"]))

    def _require_shown(self, slot: Slot, *, because: str) -> None:
        if not all(self._shown(slot)):
            raise Failure(f"{self._patient.addresses['booking']} does not show the slot in search, {because}.")

    def _require_hidden(self, slot: Slot, *, because: str) -> None:
        if any(self._shown(slot)):
            raise Failure(f"{self._patient.addresses['booking']} shows the slot in search, {because}.")

    def _shown(self, slot: Slot) -> tuple[bool, bool]:
        """Look for it in the page that every run shares, hence in one that is cached, and in one of its own."""
        own = urlencode({"from": slot.starts_at, "doctor_id": self._doctor_id, "limit": 1})
        found = self._patient.expect(200, "GET", f"/booking/slots/search?{own}")["items"]
        shared = leftovers.open_slots(self._patient, self._doctor_id)
        return slot.id in {item["id"] for item in shared}, slot.id in {item["id"] for item in found}


def _require(thing: dict[str, Any], name: str, **wanted: str) -> None:
    for key, value in wanted.items():
        if thing.get(key) != value:
            raise Failure(f"{name} has {key} {thing.get(key)!r} instead of {value!r}.")
