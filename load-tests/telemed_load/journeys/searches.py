"""How patients and visitors find a slot: they need one thing, search around it, and choose of what a page shows."""

import time
from datetime import UTC, datetime, timedelta

from telemed_load.journeys.turn import Answer, Ask, Step, Turn, nothing_learned, query
from telemed_load.people import Slot

DAY = 24 * 3600  # seconds
TOO_SOON_SECONDS = 60  # what begins within this time may have begun when it is asked for


def search(turn: Turn) -> Ask:
    """Look for slots of what is needed: anybody's or those of a doctor who was shown, the next or from some day on."""
    wanted, draw = turn.mix.search, turn.draw
    asked: dict[str, object] = {}
    if turn.seen and draw.random() < wanted.chooses_doctor_share:
        asked["doctor_id"] = draw.choice(turn.seen)
    else:
        asked |= turn.need._asdict()
    if draw.random() < wanted.chooses_day_share:
        # Whole days, as people choose days: those who choose the same are answered from the cache.
        asked["from_"] = _instant((turn.now // DAY + draw.randint(1, wanted.days_ahead)) * DAY)
    return Ask("search", query("/booking/slots/search", **asked, limit=wanted.limit), turn.who)


def found(turn: Turn, ask: Ask, answer: Answer) -> None:
    """Look at what is shown, and compare it with what was acknowledged.

    From an empty page people go back to the one before, and do not insist on a language any longer.
    """
    if answer.status != 200:
        return
    items = answer.json().get("items", [])
    turn.board.saw([item["id"] for item in items], answer.sent_at)
    if not items:
        turn.need = turn.need._replace(language=None)
        return
    turn.found, turn.choice = [Slot.read(item, item["doctor"]["id"]) for item in items], None
    # In the order of the pages: a set's would be another in the next run of the same seed.
    turn.seen = list(dict.fromkeys([*turn.seen, *(slot.doctor_id for slot in turn.found)]))


def directory(turn: Turn) -> Ask:
    """Look at the doctors of the specialization that is needed."""
    path = query("/booking/doctors", specialization=turn.need.specialization, limit=20)
    return Ask("directory", path, turn.who)


def doctor(turn: Turn) -> Ask | None:
    """Look at a doctor: the one of a slot that suits, which is then booked unless another is looked at."""
    turn.choice = _one_of_the_first(turn)
    if turn.choice is not None:
        doctor_id = turn.choice.doctor_id
    elif doctors := turn.seen or [one.id for one in turn.board.people.doctors]:
        doctor_id = turn.draw.choice(doctors)
    else:
        return None
    return Ask("doctor", f"/booking/doctors/{doctor_id}", turn.who)


def chosen(turn: Turn) -> Slot | None:
    """Give the slot whose doctor was looked at; without one that still suits, another of the page."""
    if turn.choice is not None and _suits(turn, turn.choice):
        return turn.choice
    return _one_of_the_first(turn)


def _one_of_the_first(turn: Turn) -> Slot | None:
    # A page begins with the soonest. People who are ill want one of these, and do not all take the topmost.
    suiting = [slot for slot in turn.found if _suits(turn, slot)][: turn.mix.chooses_among]
    return turn.draw.choice(suiting) if suiting else None


def _suits(turn: Turn, slot: Slot) -> bool:
    if slot.id in turn.refused or slot.begins <= time.time() + TOO_SOON_SECONDS:
        return False
    return turn.who is None or turn.board.is_free(turn.who, slot)


def _instant(seconds: float) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


STEPS = {
    "search": Step(search, found),
    "directory": Step(directory, nothing_learned),
    "doctor": Step(doctor, nothing_learned),
}
