"""What a run that was killed may have left: open slots of the synthetic doctor, and appointments in them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from telemed.smoke.client import Caller
from telemed.smoke.failure import Failure

# Longer than any run lasts, with what its end may take: what is younger belongs to a run that is still going on.
OLD = timedelta(minutes=10)
_AT_ONCE = 20  # things that one run takes away; the next one goes on
# Another run has taken it away in the meantime.
_GONE = frozenset({"not-found", "step-not-allowed", "slot-booked", "slot-contended"})


def remove(doctor: Caller, doctor_id: str) -> None:
    """Take away what is older than any run.

    Raises:
        Failure: the platform refuses.
    """
    before = doctor.run.clock.now() - OLD
    for appointment in _booked(doctor)[:_AT_ONCE]:
        if datetime.fromisoformat(appointment["created_at"]) < before:
            _cancel(doctor, str(appointment["id"]))
    for slot in open_slots(doctor, doctor_id)[:_AT_ONCE]:
        if _made_at(str(slot["id"])) < before:
            withdraw(doctor, str(slot["id"]))


def open_slots(caller: Caller, doctor_id: str) -> list[dict[str, Any]]:
    """Give the doctor's open slots as search shows them."""
    query = urlencode({"doctor_id": doctor_id, "limit": 100})
    items: list[dict[str, Any]] = caller.expect(200, "GET", f"/booking/slots/search?{query}")["items"]
    return items


def withdraw(doctor: Caller, slot_id: str) -> None:
    """Withdraw the slot, unless it is gone."""
    _unless_gone(doctor, "DELETE", f"/booking/slots/{slot_id}", 204)


def cancel_of_slot(caller: Caller, slot_id: str) -> None:
    """Cancel the caller's appointment in this slot, if there is one."""
    for appointment in _booked(caller):
        if appointment["slot_id"] == slot_id:
            _cancel(caller, str(appointment["id"]))


def _cancel(caller: Caller, appointment_id: str) -> None:
    _unless_gone(caller, "POST", f"/booking/appointments/{appointment_id}/cancel", 200)


def _booked(caller: Caller) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = caller.expect(200, "GET", "/booking/appointments?status=booked&limit=100")["items"]
    return items


def _unless_gone(caller: Caller, method: str, path: str, wanted: int) -> None:
    answer = caller.send(method, path)
    if answer.status != wanted and answer.problem not in _GONE:
        raise Failure(caller.complaint(answer, f"{method} {path}", str(wanted)))


def _made_at(slot_id: str) -> datetime:
    """Read when the slot was made from its id, which is of version 7: 48 bits of milliseconds come first."""
    return datetime.fromtimestamp((UUID(slot_id).int >> 80) / 1000, UTC)
