"""People on their journeys, and what they are answered, made up for tests."""

import json
import random
from collections.abc import Sequence
from typing import Any

from telemed_load.board import Appointment, Board
from telemed_load.journeys import STEPS, Answer, Ask, Turn
from telemed_load.people import Account, Population, Slot
from telemed_load.profile import load_profile

_, MIX = load_profile("day")
NOW = 1_800_000_000.0
SLOT = Slot("slot-1", "doctor-1", NOW + 7200, NOW + 9000)


def person(name: str) -> Account:
    """Give somebody who is logged in."""
    return Account(name, f"{name}@example.com", "token", NOW + 600, refresh_token="refresh", password="password")


def board() -> Board:
    """Give what two patients and a doctor know at first."""
    people = Population(
        [person("patient-1"), person("patient-2")], [person("doctor-1")], [person("admin-1")],
        [SLOT], ["Cardiology"], ["en"], 900.0, "two patients", run="run",
    )  # fmt: skip
    return Board(people)


def turn(on: Board, *steps: str, who: Account | None = None) -> Turn:
    """Give a journey that begins; of those of a patient, unless somebody else is named."""
    return Turn(on, MIX, random.Random(1), 7, NOW, who or on.people.patients[0], frozenset(steps or {"search"}),
                tries_left=3)  # fmt: skip


def answer(status: int | None, body: dict[str, Any] | None = None, *, sent: float = 5.0, done: float = 5.1) -> Answer:
    """Give what the platform says; without a status it says nothing."""
    return Answer(status, json.dumps(body or {}).encode(), {}, sent, done, "" if status else "timed out")


def shown(*slots: str, doctors: Sequence[str] = ("doctor-1",)) -> dict[str, Any]:
    """Give a page of these slots, whose doctors take turns."""
    times = {"starts_at": "2099-01-01T09:00:00Z", "ends_at": "2099-01-01T09:30:00Z"}
    whose = [{"id": doctors[place % len(doctors)]} for place in range(len(slots))]
    return {"items": [{"id": slot, "doctor": doctor} | times for slot, doctor in zip(slots, whose, strict=True)]}


def done(now: Turn, kind: str, said: Answer) -> Ask | None:
    """Make a step, and give what was asked for."""
    ask = STEPS[kind].ask(now)
    if ask is not None:
        STEPS[kind].hear(now, ask, said)
    return ask


def booked(now: Turn, *, at: float = 5.0) -> Appointment:
    """Find a slot and book it."""
    done(now, "search", answer(200, shown("slot-a"), sent=at - 1, done=at - 0.9))
    done(now, "book", answer(201, {"id": "appointment-1", "slot_id": "slot-a"}, sent=at - 0.1, done=at))
    assert now.appointment is not None
    return now.appointment
