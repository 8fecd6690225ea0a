"""People do what the mix says, know their own calendars, and notice a promise that is broken."""

import json
import random
from itertools import pairwise

import httpx
import pytest
from tests.load.turns import MIX, NOW, SLOT, answer, board, booked, done, person, shown, turn

from telemed_load.accounts import book_due
from telemed_load.board import Appointment, Board
from telemed_load.journeys import STEPS, timeline
from telemed_load.people import Due, Population, Slot
from telemed_load.routes import ROUTES


def test_every_kind_of_request_has_a_route_and_a_step() -> None:
    """The mix can name any of them."""
    assert STEPS.keys() == ROUTES.keys()


def test_pauses_count_from_intention_to_intention() -> None:
    """Never less than half a second, 0.8 on average: known before anything is sent."""
    draw = random.Random(2)
    plans = [timeline(MIX.journeys["patient"], MIX, draw, 10.0) for _ in range(500)]
    pauses = [later - at for plan in plans for (at, _), (later, _) in pairwise(plan)]

    assert all(plan[0][0] == 10.0 for plan in plans)
    assert min(pauses) >= MIX.think.at_least_seconds
    assert abs(sum(pauses) / len(pauses) - MIX.think.mean_seconds) < 0.03


def test_fractions_are_chances() -> None:
    """8 of 100 patients cancel; one in twenty journeys begins with a refresh, one in a hundred with a password."""
    draw = random.Random(3)
    plans = [[kind for _, kind in timeline(MIX.journeys["patient"], MIX, draw, 0.0)] for _ in range(4000)]

    assert 0.06 < sum("cancel" in plan for plan in plans) / 4000 < 0.10
    assert 0.035 < sum(plan[0] == "refresh" for plan in plans) / 4000 < 0.065
    assert 0.005 < sum(plan[0] == "login" for plan in plans) / 4000 < 0.016


def test_a_surge_is_of_people_who_are_logged_in() -> None:
    """One request each: passwords would make it a measurement of hashing."""
    draw = random.Random(3)
    plans = [[kind for _, kind in timeline(MIX.journeys["booking"], MIX, draw, 0.0)] for _ in range(2000)]

    assert {tuple(plan) for plan in plans} == {("book",)}


def test_a_patient_books_what_was_shown_and_reads_it() -> None:
    """Under a key of its own; the appointment is the one that was acknowledged."""
    now = turn(board())
    appointment = booked(now)

    read = STEPS["appointment"].ask(now)
    assert read is not None
    assert read.path == f"/booking/appointments/{appointment.id}"
    assert now.board.appointments[appointment.id].slot.id == "slot-a"


def test_keys_are_never_those_of_a_run_before() -> None:
    """The seed may be the same: a repeated key would be answered from memory, or refused."""
    first, again = board(), board()
    again.people.run = "other"
    keys = [turn(one).key() for one in (first, again)]

    assert keys[0] != keys[1]


def test_a_patient_is_nowhere_twice() -> None:
    """They know their calendar: the slot at the same time is not asked for."""
    now = turn(board())
    booked(now)
    done(now, "search", answer(200, shown("slot-b")))

    assert STEPS["book"].ask(now) is None


def test_a_refused_move_leaves_the_appointment_as_it_was() -> None:
    """It can still be cancelled."""
    now = turn(board())
    appointment = booked(now)
    now.found.append(Slot("slot-c", "doctor-1", NOW + 90000, NOW + 91000))
    done(now, "reschedule", answer(409, {"type": "slot-taken"}))

    assert appointment.status == "booked"
    assert STEPS["cancel"].ask(now) is not None


def test_a_search_that_shows_a_booked_slot_is_a_broken_promise() -> None:
    """If it began after the booking was acknowledged; one that was under way may still show it."""
    on = board()
    booked(turn(on), at=5.0)
    other = turn(on, who=on.people.patients[1])

    done(other, "search", answer(200, shown("slot-a"), sent=4.9, done=5.3))
    assert on.violations == []
    done(other, "search", answer(200, shown("slot-a"), sent=5.2, done=5.3))
    assert len(on.violations) == 1


@pytest.mark.parametrize("step", ["cancel", "reschedule"])
def test_a_slot_that_may_be_open_again_may_be_shown(step: str) -> None:
    """From when the cancelling was asked for: nobody knows when exactly it happens."""
    on = board()
    now = turn(on)
    booked(now)
    now.found.append(Slot("slot-c", "doctor-1", NOW + 90000, NOW + 91000))
    assert STEPS[step].ask(now) is not None

    done(turn(on, who=on.people.patients[1]), "search", answer(200, shown("slot-a"), sent=6))
    assert on.violations == []


def test_two_acknowledged_bookings_of_one_slot_are_a_broken_promise() -> None:
    """Seen at once, not only afterwards."""
    on = board()
    booked(turn(on))
    other = turn(on, who=on.people.patients[1])
    booked(other)

    assert ["given twice" in one for one in on.violations] == [True]


def test_an_acknowledged_appointment_that_is_not_found_is_a_broken_promise() -> None:
    """Own writes are readable at once."""
    now = turn(board())
    booked(now)
    done(now, "appointment", answer(404, {"type": "not-found"}))

    assert len(now.board.violations) == 1


def test_an_outcome_that_nobody_knows_keeps_the_time_taken() -> None:
    """The booking may be there: asking for the same time again could be refused for it."""
    now = turn(board())
    done(now, "search", answer(200, shown("slot-a")))
    done(now, "book", answer(None))
    done(now, "search", answer(200, shown("slot-b")))

    assert now.again == ()
    assert STEPS["book"].ask(now) is None


def test_a_visit_goes_through_its_steps() -> None:
    """Start, prescribe, complete; each only when the one before was done."""
    on = board()
    appointment = booked(turn(on))
    now = turn(on, "start", who=on.people.doctors[0])
    now.appointment = appointment

    assert STEPS["prescribe"].ask(now) is None
    done(now, "start", answer(200))
    done(now, "prescribe", answer(201))
    done(now, "complete", answer(200))
    assert appointment.status == "completed"
    assert on.prescribed(random.Random(1)) is appointment


def test_visits_are_due_that_were_booked_before() -> None:
    """Most whom a doctor sees today have booked on another day: they are busy at that time, and the slot is gone."""
    people = board().people
    people.due = [Due("appointment-1", SLOT, "patient-1")]
    on = Board(people)

    assert on.is_free(people.patients[0], SLOT) is False
    due = on.next_visit(SLOT.begins)
    assert due is not None
    assert (due.id, due.patient) == ("appointment-1", people.patients[0])
    done(turn(on), "search", answer(200, shown(SLOT.id), sent=-9.0))
    assert len(on.violations) == 1


def test_a_visit_begins_when_it_may() -> None:
    """Not before its time has come within reach, and once only."""
    on = board()
    appointment = Appointment("appointment-1", SLOT, on.people.patients[0])
    on.booked(appointment, 1.0)

    assert on.next_visit(SLOT.begins - 901) is None
    assert on.next_visit(SLOT.begins - 899) is appointment
    assert on.next_visit(SLOT.begins) is None


def test_nobody_visits_for_what_was_cancelled() -> None:
    """The doctor sees the next one."""
    on = board()
    cancelled, kept = (Appointment(name, SLOT, on.people.patients[0]) for name in ("appointment-1", "appointment-2"))
    on.booked(cancelled, 1.0)
    on.leaves(cancelled, "cancelled")
    on.booked(kept, 2.0)

    assert on.next_visit(SLOT.begins) is kept


def test_a_refresh_token_is_used_once() -> None:
    """Of two journeys of one person only one may have it."""
    on = board()
    first, second = turn(on, "refresh"), turn(on, "refresh")
    ask = STEPS["refresh"].ask(first)
    assert ask is not None

    assert STEPS["refresh"].ask(second) is None
    tokens = {"access_token": "new", "refresh_token": "next", "expires_in": 600}
    STEPS["refresh"].hear(first, ask, answer(200, tokens))
    assert (on.people.patients[0].token, on.people.patients[0].refresh_token) == ("new", "next")


def test_stock_is_given_so_that_no_patient_is_in_two_places() -> None:
    """A surge books everything there is: adjacent slots, few patients."""
    doctors = [person(f"doctor-{at}") for at in range(4)]
    slots = [
        Slot(f"{doctor.id}/{at}", doctor.id, NOW + 300 * at, NOW + 300 * (at + 1))
        for doctor in doctors
        for at in range(50)
    ]
    patients = [person(f"patient-{at}") for at in range(10)]
    on = Board(Population(patients, doctors, [], slots, [], [], 0, "a surge"))

    for number in range(200):
        given = on.from_stock(number)
        assert given is not None
        slot, patient = given
        assert on.is_free(patient, slot)
        on.expect(patient, slot)
    assert on.from_stock(200) is None


def test_nothing_is_booked_before_where_visits_open_as_late_as_others_can_be_booked() -> None:
    """Such slots are published for the window; and a platform of which so little is known is asked for nothing."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    people = board().people
    with httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://platform.example") as client:
        book_due(people, 5, client)
        people.visit_opens_before_seconds = 86_400.0
        book_due(people, 0, client)
        with pytest.raises(AssertionError, match="/booking/slots"):
            book_due(people, 5, client)
    assert people.due == []


def test_a_population_is_split_without_sharing_anybody() -> None:
    """Each worker has its own patients, what is due for them, and only its own doctors' slots."""
    everybody = board().people
    everybody.due = [Due(f"appointment-{at}", SLOT, f"patient-{at}") for at in (1, 2)]
    parts = [everybody.part(at, 2) for at in range(2)]

    assert [one.id for part in parts for one in part.patients] == ["patient-1", "patient-2"]
    assert [one.patient_id for part in parts for one in part.due] == ["patient-1", "patient-2"]
    assert [len(part.doctors) for part in parts] == [1, 1]  # fewer than workers: all share them
    assert Population.from_json(json.loads(json.dumps(everybody.to_json()))) == everybody
