"""What patients do with a slot: book it, look at it, move or cancel it. How they find it is told in `searches`."""

import time

from telemed_load.board import Appointment
from telemed_load.journeys.searches import chosen
from telemed_load.journeys.turn import Answer, Ask, Step, Turn
from telemed_load.people import Account
from telemed_load.problems import LoadProblem


def book(turn: Turn) -> Ask | None:
    """Book a slot that was shown and that suits; a journey without a search books from what was published for it."""
    patient = turn.who
    if "search" not in turn.steps:
        given = turn.board.from_stock(turn.number)
        if given is None:
            return None
        slot, patient = given
        turn.who = patient
    elif patient is None or (shown := chosen(turn)) is None:
        return None
    else:
        slot = shown
    turn.board.expect(patient, slot)
    body = {"slot_id": slot.id, "reason": "Load test"}
    return Ask("book", "/booking/slots/book", patient, body, turn.key(), slot)


def was_booked(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Note what was acknowledged; where somebody was faster, look again, and try what is shown then."""
    assert ask.slot is not None
    assert ask.account is not None
    if answer.status == 201:
        turn.appointment = Appointment(answer.json()["id"], ask.slot, ask.account)
        turn.board.booked(turn.appointment, answer.done_at)
    elif not answer.has_failed:  # otherwise nobody knows, and the time may be taken
        turn.board.forget(ask.account, ask.slot)
        turn.refused.add(ask.slot.id)
        turn.found, turn.choice = [], None  # a page that has just been wrong is not gone on with
        turn.tries_left -= 1
        if turn.tries_left > 0 and "search" in turn.steps:
            turn.again = ("search", "book")


def own_appointment(turn: Turn) -> Ask | None:
    """Read the appointment."""
    return _about(turn, "appointment", "/booking/appointments/{}")


def own_consultation(turn: Turn) -> Ask | None:
    """Read the consultation, which has the appointment's id."""
    return _about(turn, "consultation", "/consultation/{}")


def prescription(turn: Turn) -> Ask | None:
    """Read the prescription."""
    return _about(turn, "prescription", "/consultation/{}/prescription")


def is_there(turn: Turn, ask: Ask, answer: Answer) -> None:
    """See that what was acknowledged is there, at once."""
    if answer.status == 404 and ask.appointment is not None:
        turn.board.broken(f"appointment {ask.appointment.id} was acknowledged, and {ask.path} is not found")


def cancel(turn: Turn) -> Ask | None:
    """Cancel the appointment."""
    one = turn.appointment
    if one is None or one.status != "booked":
        return None
    turn.board.leaves(one, "cancelling")
    return Ask("cancel", f"/booking/appointments/{one.id}/cancel", one.patient, None, turn.key(), appointment=one)


def was_cancelled(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Note that the slot is open again."""
    assert ask.appointment is not None
    if answer.status == 200:
        ask.appointment.status = "cancelled"
        turn.board.left(ask.appointment)


def reschedule(turn: Turn) -> Ask | None:
    """Move the appointment to another slot of its doctor."""
    one = turn.appointment
    if one is None or one.status != "booked":
        return None
    slot = turn.board.other_slot(one.slot.doctor_id, turn.found, turn.draw)
    if slot is None or slot.id == one.slot.id or not turn.board.is_free(one.patient, slot):
        return None
    turn.board.expect(one.patient, slot)
    turn.board.leaves(one, "moving")
    path, body = f"/booking/appointments/{one.id}/reschedule", {"slot_id": slot.id}
    return Ask("reschedule", path, one.patient, body, turn.key(), slot, one)


def was_moved(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Note that the old appointment is over, and that there is a new one."""
    assert ask.slot is not None
    assert ask.appointment is not None
    old = ask.appointment
    if answer.status == 200:
        old.status = "rescheduled"
        turn.board.left(old)
        turn.appointment = Appointment(answer.json()["id"], ask.slot, old.patient)
        turn.board.booked(turn.appointment, answer.done_at)
    elif not answer.has_failed:
        turn.board.forget(old.patient, ask.slot)
        old.status = "booked"  # a refusal changes nothing


def login(turn: Turn) -> Ask | None:
    """Log in with the password; who has none here refreshes, and who cannot do that either goes on as they are."""
    if turn.who is None or turn.who.password is None:
        return refresh(turn)
    body = {"email": turn.who.email, "password": turn.who.password}
    return Ask("login", "/auth/login", None, body)


def refresh(turn: Turn) -> Ask | None:
    """Get a new access token."""
    if turn.who is None or turn.who.refresh_token is None:
        return None
    # Taken out at once: a refresh token serves once, and of two journeys of one person only one may use it.
    body, turn.who.refresh_token = {"refresh_token": turn.who.refresh_token}, None
    return Ask("refresh", "/auth/refresh", None, body)


def got_tokens(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Use the new tokens from now on."""
    if answer.status == 200 and turn.who is not None:
        accept(turn.who, answer.json(), time.time())


def accept(account: Account, tokens: dict[str, object], now: float) -> None:
    """Give the account what a login or a refresh has answered."""
    try:
        account.token, account.refresh_token = str(tokens["access_token"]), str(tokens["refresh_token"])
        account.expires_at = now + float(str(tokens["expires_in"]))
    except (KeyError, ValueError) as error:
        raise LoadProblem(f"The platform answered a login of {account.email} without tokens.") from error


def _about(turn: Turn, kind: str, path: str) -> Ask | None:
    one = turn.appointment
    return None if one is None else Ask(kind, path.format(one.id), turn.who, appointment=one)


STEPS = {
    "book": Step(book, was_booked),
    "appointment": Step(own_appointment, is_there),
    "consultation": Step(own_consultation, is_there),
    "prescription": Step(prescription, is_there),
    "cancel": Step(cancel, was_cancelled),
    "reschedule": Step(reschedule, was_moved),
    "login": Step(login, got_tokens),
    "refresh": Step(refresh, got_tokens),
}
