"""People look for what they need, and for nothing else; they book of what they have in front of them."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.load.turns import MIX, NOW, answer, board, done, person, shown, turn

from telemed_load.board import Board
from telemed_load.journeys import STEPS, Turn
from telemed_load.profile import Mix

SPECIALIZATIONS = [f"Specialization {number}" for number in range(12)]
PAGE = shown("slot-a", "slot-b", "slot-c", doctors=["doctor-a", "doctor-b", "doctor-c"])


def clinic() -> Board:
    """Give one with more to choose from than two patients need."""
    people = replace(board().people, specializations=SPECIALIZATIONS, languages=["en", "hi", "de", "es"])
    people.doctors = [person(f"doctor-{number}") for number in range(40)]
    return Board(people)


def mixed(**changed: object) -> Mix:
    """Give the mix with other settings."""
    return MIX.model_copy(update=changed)


def begun(on: Board, seed: int, mix: Mix = MIX) -> Turn:
    """Give somebody who comes."""
    now = turn(on, "search", "book")
    now.draw, now.mix = random.Random(seed), mix
    return now


def asked(now: Turn, kind: str = "search") -> dict[str, str]:
    """Look, be shown a page, and give what was asked for."""
    ask = done(now, kind, answer(200, PAGE))
    assert ask is not None
    return {name: values[0] for name, values in parse_qs(urlsplit(ask.path).query).items()}


def wanted_slot(now: Turn) -> str:
    """Give the slot that is asked for."""
    ask = STEPS["book"].ask(now)
    assert ask is not None
    assert ask.slot is not None
    return ask.slot.id


def journeys(times: int = 1500) -> list[list[dict[str, str]]]:
    """Give the four searches of so many people."""
    on = clinic()
    return [[asked(now) for _ in range(4)] for now in (begun(on, seed) for seed in range(times))]


def test_a_person_needs_one_thing() -> None:
    """However often they look: one specialization, with one language or with none. Others need other things."""
    needs = []
    for searches in journeys():
        by_need = [one for one in searches if "doctor_id" not in one]
        (need,) = {(one["specialization"], one.get("language")) for one in by_need}
        needs.append(need)

    assert {specialization for specialization, _ in needs} == set(SPECIALIZATIONS)
    caring = sum(language is not None for _, language in needs) / len(needs)
    assert caring == pytest.approx(MIX.search.chooses_language_share, abs=0.04)


def test_searches_vary_as_the_mix_says() -> None:
    """Half of all are from some day on; of those of people who were shown doctors, a share is for one of these."""
    all_of_them = journeys()
    first, later = [one[0] for one in all_of_them], [search for one in all_of_them for search in one[1:]]

    days = sum("from" in one for one in [*first, *later]) / (4 * len(all_of_them))
    assert days == pytest.approx(MIX.search.chooses_day_share, abs=0.02)
    assert not any("doctor_id" in one for one in first)
    doctors = [one["doctor_id"] for one in later if "doctor_id" in one]
    assert len(doctors) / len(later) == pytest.approx(MIX.search.chooses_doctor_share, abs=0.02)
    assert set(doctors) == {"doctor-a", "doctor-b", "doctor-c"}  # of the page, and of forty that there are


def test_people_choose_whole_days() -> None:
    """From tomorrow on, as far as the mix says: those who choose the same can be answered from the cache."""
    begins = {search["from"] for one in journeys(300) for search in one if "from" in search}
    today = datetime.fromisoformat("2027-01-15T00:00:00Z")
    assert today.timestamp() <= NOW < today.timestamp() + 86400

    days = {datetime.fromisoformat(one) - today for one in begins}
    assert days == {timedelta(days=ahead) for ahead in range(1, MIX.search.days_ahead + 1)}


def test_a_visitor_looks_up_the_doctors_they_need() -> None:
    """The directory is asked for what was searched for."""
    now = begun(clinic(), 1)
    now.who = None

    assert asked(now)["specialization"] == asked(now, "directory")["specialization"]


def test_from_an_empty_page_people_go_back_and_settle_for_less() -> None:
    """They choose from the one before, and no longer insist on a language."""
    mix = mixed(search=MIX.search.model_copy(update={"chooses_language_share": 1, "chooses_doctor_share": 0}))
    now = begun(clinic(), 1, mix)
    assert "language" in asked(now)
    done(now, "search", answer(200, shown()))

    assert [slot.id for slot in now.found] == ["slot-a", "slot-b", "slot-c"]
    assert "language" not in asked(now)


def test_people_choose_among_the_first_of_the_page_they_looked_at_last() -> None:
    """As many as the mix says of those that suit; what an earlier page has shown is forgotten."""
    chosen = set()
    for seed in range(100):
        now = begun(clinic(), seed, mixed(chooses_among=2))
        asked(now)
        done(now, "search", answer(200, shown("slot-1", "slot-2", "slot-3", "slot-4")))
        now.refused.add("slot-1")
        chosen.add(wanted_slot(now))

    assert chosen == {"slot-2", "slot-3"}


def test_people_book_with_the_doctor_they_looked_at_last() -> None:
    """Who looks at two books with the second: its slot is the one they had in mind."""
    for seed in range(50):
        now = begun(clinic(), seed)
        asked(now)
        done(now, "doctor", answer(200))
        looked_at = done(now, "doctor", answer(200))
        assert looked_at is not None

        slot = wanted_slot(now)
        assert looked_at.path == f"/booking/doctors/{slot.replace('slot', 'doctor')}"


def test_a_new_page_lets_people_choose_anew() -> None:
    """Whatever they had in mind, they book of what they have in front of them."""
    now = begun(clinic(), 1)
    asked(now)
    done(now, "doctor", answer(200))
    done(now, "search", answer(200, shown("slot-later")))

    assert wanted_slot(now) == "slot-later"


def test_what_does_not_suit_any_more_is_not_booked() -> None:
    """Another journey of the same person has taken the time meanwhile: their own calendar tells them."""
    now = begun(clinic(), 1)
    asked(now)
    done(now, "doctor", answer(200))
    assert now.who is not None
    assert now.choice is not None
    now.board.expect(now.who, now.choice)

    assert STEPS["book"].ask(now) is None


def test_who_was_shown_nothing_looks_at_any_doctor() -> None:
    """One of those who take part."""
    looked_at = STEPS["doctor"].ask(begun(clinic(), 1))

    assert looked_at is not None
    assert looked_at.path.removeprefix("/booking/doctors/") in {one.id for one in clinic().people.doctors}
