"""What doctors do: open hours, see patients, prescribe."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from telemed_load.journeys.turn import Answer, Ask, Step, Turn, nothing_learned, query

AT_ONCE = 4  # slots that a doctor publishes in one go
SLOT = timedelta(minutes=10)
PRESCRIPTION = {
    "diagnosis": "Load test",
    "items": [{"medicine": "Paracetamol", "dosage": "1 tablet", "frequency": "three times a day", "duration_days": 3}],
    "advice": "Written by a load test.",
}


def publish(turn: Turn) -> Ask | None:
    """Publish a few slots some day in the next years; where they overlap earlier ones, that is answered by 409."""
    if turn.who is None:
        return None
    day = datetime.fromtimestamp(turn.now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = day + timedelta(days=turn.draw.randint(400, 1000), hours=turn.draw.randint(6, 18))
    times = [(first + SLOT * place, first + SLOT * (place + 1)) for place in range(AT_ONCE)]
    body = {"slots": [{"starts_at": begin.isoformat(), "ends_at": end.isoformat()} for begin, end in times]}
    return Ask("publish", "/booking/slots", turn.who, body, turn.key())


def own_appointments(turn: Turn) -> Ask:
    """List the own appointments."""
    return Ask("appointments", query("/booking/appointments", limit=20), turn.who)


def own_consultations(turn: Turn) -> Ask:
    """List the own consultations."""
    return Ask("consultations", query("/consultation", limit=20), turn.who)


def start(turn: Turn) -> Ask | None:
    """Begin the visit."""
    return _step(turn, "start", "start", "booked")


def has_started(turn: Turn, ask: Ask, answer: Answer) -> None:
    """From now on the patient cannot cancel."""
    if answer.status == 200 and ask.appointment is not None:
        ask.appointment.status = "in_progress"


def prescribe(turn: Turn) -> Ask | None:
    """Write the prescription."""
    return _step(turn, "prescribe", "prescription", "in_progress", PRESCRIPTION)


def has_prescribed(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Note that the patient can read it."""
    if answer.status == 201 and ask.appointment is not None:
        turn.board.wrote(ask.appointment)


def complete(turn: Turn) -> Ask | None:
    """End the visit."""
    return _step(turn, "complete", "complete", "in_progress")


def has_completed(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Note that it is over; the slot stays taken."""
    if answer.status == 200 and ask.appointment is not None:
        ask.appointment.status = "completed"


def _step(turn: Turn, kind: str, path: str, status: str, body: Mapping[str, object] | None = None) -> Ask | None:
    one = turn.appointment
    if one is None or one.status != status:
        return None
    return Ask(kind, f"/consultation/{one.id}/{path}", turn.who, body, turn.key(), appointment=one)


STEPS = {
    "publish": Step(publish, nothing_learned),
    "appointments": Step(own_appointments, nothing_learned),
    "consultations": Step(own_consultations, nothing_learned),
    "start": Step(start, has_started),
    "prescribe": Step(prescribe, has_prescribed),
    "complete": Step(complete, has_completed),
}
