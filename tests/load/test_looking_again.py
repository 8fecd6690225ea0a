"""Whoever was beaten to a slot looks again, and tries what is shown then: requests like any others."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.load.generators import MIX as STUB_MIX
from tests.load.generators import NOBODY, generated, schedule, stub
from tests.load.turns import MIX, answer, board, booked, done, person, shown, turn

from telemed_load.journeys import STEPS, delayed
from telemed_load.profile import Mix

TAKEN = answer(409, {"type": "slot-taken"})
PATIENT: dict[str, Any] = {
    "who": "patient",
    "per_consultation": 1,
    "steps": [{"do": "search"}, {"do": "book"}, {"do": "me"}],
}


def test_who_was_slower_looks_again() -> None:
    """The page is believed no more, and the next try is for what the new one shows."""
    now = turn(board())
    done(now, "search", answer(200, shown("slot-a", "slot-b")))
    tried = done(now, "book", TAKEN)

    assert now.again == ("search", "book")
    assert STEPS["book"].ask(now) is None
    done(now, "search", answer(200, shown("slot-c")))
    next_try = STEPS["book"].ask(now)
    assert tried is not None
    assert next_try is not None
    assert next_try.slot is not None
    assert next_try.slot.id == "slot-c"
    assert next_try.key != tried.key


def test_who_was_refused_a_slot_does_not_ask_for_it_again() -> None:
    """Even where it is shown: they may be busy at its time, as far as the platform knows."""
    now = turn(board())
    done(now, "search", answer(200, shown("slot-a")))
    done(now, "book", answer(409, {"type": "patient-busy"}))
    done(now, "search", answer(200, shown("slot-a")))

    assert STEPS["book"].ask(now) is None


def test_who_is_always_slower_gives_up() -> None:
    """After as many tries as the mix allows."""
    now = turn(board())
    for place in range(MIX.tries_to_book):
        assert bool(now.again) is (place > 0)
        now.again = ()
        done(now, "search", answer(200, shown(f"slot-{place}")))
        done(now, "book", TAKEN)

    assert now.again == ()


def test_who_did_not_search_does_not_look_again() -> None:
    """A surge is of bookings and nothing else."""
    on = board()
    now = turn(on, "book")
    ask = STEPS["book"].ask(now)
    assert ask is not None
    STEPS["book"].hear(now, ask, TAKEN)

    assert now.again == ()


def test_a_look_that_shows_what_was_lost_is_a_broken_promise() -> None:
    """The winner's booking was acknowledged before: nobody watches closer than who has lost."""
    on = board()
    now = turn(on, who=on.people.patients[1])
    done(now, "search", answer(200, shown("slot-a"), sent=4.0, done=4.1))
    booked(turn(on), at=5.0)
    done(now, "book", TAKEN)

    done(now, "search", answer(200, shown("slot-b"), sent=6.0, done=6.1))
    assert on.violations == []
    done(now, "search", answer(200, shown("slot-a"), sent=6.0, done=6.1))
    assert len(on.violations) == 1


def test_looking_again_has_pauses_and_puts_off_what_follows() -> None:
    """From intended start to intended start, never less than half a second; what follows keeps its own pauses."""
    planned = [(11.5, "appointment"), (13.0, "consultation")]
    after = delayed(planned, ("search", "book"), MIX, random.Random(1), 10.0)

    assert [kind for _, kind in after] == ["search", "book", "appointment", "consultation"]
    pauses = [round(later - at, 6) for at, later in pairwise([10.0, *(at for at, _ in after)])]
    assert min(pauses[:2]) >= MIX.think.at_least_seconds
    assert pauses[2:] == [1.5, 1.5]


def test_each_look_of_who_is_beaten_is_sent_and_counted(tmp_path: Path) -> None:
    """Three tries, each after a search, then the rest of the journey: as many are sent as are intended."""
    plan = schedule(rate=15, seconds=8)
    plan = replace(plan, mix=Mix.model_validate(STUB_MIX | {"tries_to_book": 3, "journeys": {"patient": PATIENT}}))
    # More people than come: nobody's token or calendar is in anybody's way.
    people = replace(NOBODY, patients=[person(f"patient-{number}") for number in range(200)])
    with stub(tmp_path, "--taken") as (url, _):
        run = generated(tmp_path, plan, url, people=people)

    sent = {name: kind.latency.count for name, kind in run.kinds.items()}
    assert set(run.kinds["book"].statuses) == {"409 slot-taken"}
    assert run.counts["sent_requests"] == run.counts["planned_requests"] == sum(sent.values())
    # Whose journey the window's end cuts has tried less often than three times, and some have looked and not tried yet.
    assert 2 * run.counts["arrivals"] < sent["book"] < sent["search"] <= 3 * run.counts["arrivals"]
    assert 0 < sent["me"] < run.counts["arrivals"]
