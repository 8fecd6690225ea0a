"""Where words of patients could get to, where they may be, and what was found where it may not."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.observability.contract.gathering import Gathered
from tests.observability.contract.markers import OF_FAULTS

# The tables that are meant for it: everything else that is stored holds ids and machine words.
STORED = {
    "auth.users.email": {"email", "doctor_email"},
    "auth.users.full_name": {"full_name", "doctor_name"},
    "auth.users.phone": {"phone"},
    "booking.appointments.reason": {"reason"},
    "booking.doctors.bio": {"bio"},
    "booking.doctors.card": {"doctor_name", "specialization"},
    "booking.doctors.full_name": {"doctor_name"},
    "booking.doctors.registration_number": {"registration_number"},
    "booking.doctors.specialization": {"specialization"},
    "booking.slots.specialization_key": {"specialization"},
    "consultation.prescriptions.advice": {"advice"},
    "consultation.prescriptions.diagnosis": {"diagnosis"},
    "consultation.prescriptions.items": {"medicine", "dosage", "frequency", "instructions"},
    # The stored replies are those of whoever asked, and their keys; replies with tokens are sealed.
    "platform.idempotency_keys.key": {"idempotency_key"},
    "platform.idempotency_keys.body": {
        *("email", "doctor_email", "full_name", "doctor_name", "phone", "reason"),
        *("diagnosis", "medicine", "dosage", "frequency", "instructions", "advice"),
    },
}
# The public card of a doctor, as search shows it to everybody.
CACHED = {"doctor_name", "specialization"}
# A problem names the address that was asked (RFC 9457, `instance`) and, by its place, the field that is wrong; both are
# the client's own. Never a value, a header, or the query.
TOLD = {"path", "field_name"}
# What a function in the database raises is in the server's log. None of ours raises with a value; these are the test's.
RAISED = set(OF_FAULTS)
NOTHING: set[str] = set()

Searched = tuple[str, str, str, set[str]]  # channel, place, text, what may be in it


@dataclass(frozen=True)
class Leak:
    """Markers where none of them may be."""

    channel: str
    place: str
    kinds: frozenset[str]


def leaks(found: Gathered) -> list[Leak]:
    """Search everything that a run has left."""
    return [
        Leak(channel, place, frozenset(kinds))
        for channel, place, text, allowed in _texts(found)
        if (kinds := found.markers.found_in(text) - allowed)
    ]


def _texts(found: Gathered) -> Iterator[Searched]:
    yield from _sent(found)
    yield from _stored(found)
    for answer in found.answers:
        place = f"{answer.method} {answer.path} {answer.status}"
        yield "headers", place, repr(answer.headers), NOTHING
        if answer.is_failure:
            yield "problem", place, answer.body, TOLD


def _sent(found: Gathered) -> Iterator[Searched]:
    for channel, texts in (
        ("log", found.logs),
        ("metrics", found.plain),
        ("exemplars", found.openmetrics),
        ("trace file", found.trace_files),
    ):
        for place, text in texts.items():
            yield channel, place, text, NOTHING
    for number, body in enumerate(found.exported):
        yield "spans", f"request {number}", body.decode("latin-1"), NOTHING


def _stored(found: Gathered) -> Iterator[Searched]:
    for place, text in found.server_logs.items():
        yield "server log", place, text, RAISED
    for key, value in found.cached.items():
        yield "cache", key, key, NOTHING
        yield "cache", key, value, CACHED if key.startswith("telemed:search:") else NOTHING
    for column, text in found.rows.items():
        yield "table", column, text, STORED.get(column, NOTHING)
