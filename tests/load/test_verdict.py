"""Met, missed, invalid: each word is said exactly when it is true."""

import pytest
from tests.load.samples import measured, schedule

from telemed_load.exposition import Comparison
from telemed_load.gates import gates_of, load_gates
from telemed_load.measurements import Health, Measurements
from telemed_load.verdict import Verdict, decide

FINE: list[float | None] = [0.02] * 3000


def verdict(run: Measurements, profile: str = "day", **more: object) -> Verdict:
    return decide(schedule(profile), load_gates(), run, more.pop("comparisons", []), **more)  # type: ignore[arg-type]


def test_a_good_run_is_met() -> None:
    """Exit code 0."""
    good = verdict(measured())

    assert (good.word, good.exit_code, good.reasons) == ("met", 0, [])


def test_slow_reads_are_missed() -> None:
    """Exit code 1, and the reason names the gate and its figures."""
    slow = verdict(measured({"search": [0.02] * 2800 + [0.4] * 200, "book": [0.04] * 500}))

    assert (slow.word, slow.exit_code) == ("missed", 1)
    assert slow.reasons == ["Reads within 200 ms: p95 is up to 400 ms, 200 ms are promised"]


def test_it_is_the_bound_that_decides() -> None:
    """Of 1,000 reads 45 are slow: the sample's own p95 is fine, and yet the true one may be beyond the limit."""
    close = verdict(measured({"search": [0.02] * 955 + [0.4] * 45, "book": [0.04] * 500}))
    judged = next(one for one in close.gates if one.slo == "reads-latency")

    assert (judged.quantile_seconds, judged.quantile_at_most_seconds) == (0.02, 0.4)
    assert close.word == "missed"


def test_a_5xx_is_no_answer_however_quick() -> None:
    """Two of 500 bookings failed."""
    failing = verdict(measured({"search": FINE, "book": [0.04] * 498 + [None] * 2}))

    assert failing.word == "missed"
    assert any(reason.startswith("Booking succeeds: 99.6 %") for reason in failing.reasons)


def test_too_few_requests_say_nothing() -> None:
    """Neither met nor missed."""
    few = verdict(measured({"search": [0.02] * 3000, "book": [0.04] * 20}))

    assert (few.word, few.exit_code) == ("invalid", 2)
    assert "Writes within 500 ms: only 20 requests, too few to say anything" in few.reasons


def test_a_dropped_arrival_makes_it_invalid() -> None:
    """Even a single one: nobody knows what it would have met."""
    run = measured()
    run.counts["dropped"] = 1

    assert verdict(run).word == "invalid"
    assert "1 of 3500 arrivals were dropped" in verdict(run).reasons[0]


@pytest.mark.parametrize(("cpu", "lag", "word"), [(0.99, 0.001, "saturated"), (0.3, 0.4, "late")])
def test_a_generator_at_its_end_measures_itself(cpu: float, lag: float, word: str) -> None:
    """Busy with itself, or late, in more than one second of twenty."""
    run = measured()
    run.health = [[Health(at, cpu if at < 6 else 0.3, lag if at < 6 else 0.001) for at in range(100)]]

    assert verdict(run).word == "invalid"
    assert word in verdict(run).reasons[0]
    run.health = [run.health[0][2:]]
    assert verdict(run).word == "met"


def test_every_worker_is_watched() -> None:
    """The first may be idle while the second is not."""
    run = measured()
    run.health.append([Health(at, 0.99, 0.001) for at in range(100)])

    assert verdict(run).word == "invalid"


@pytest.mark.parametrize("health", [[], [[]]])
def test_a_generator_that_did_not_watch_itself_is_not_believed(health: list[list[Health]]) -> None:
    """Nothing is not fine."""
    run = measured()
    run.health = health

    assert verdict(run).word == "invalid"


def test_a_worker_that_was_lost_makes_it_invalid() -> None:
    """Its people came, and nobody knows what they met."""
    run = measured()
    run.counts["workers_told"] = 2

    assert verdict(run).word == "invalid"


def test_a_server_that_contradicts_makes_it_invalid() -> None:
    """Neither side can be believed."""
    other = Comparison("reads-latency", 10, 10, 1.0, 0.5, 0.1, 0.3, "share within the limit: 1 here, 0.5 there")

    assert verdict(measured(), comparisons=[other]).word == "invalid"


def test_too_few_to_compare_is_said_and_decides_nothing() -> None:
    """How many there were, and how many in time, was compared all the same."""
    few = Comparison("writes-latency", 150, 150, 1.0, 1.0, 0.1, 0.12, "", times="too few")
    said = verdict(measured(), comparisons=[few])

    assert said.word == "met"
    assert said.reasons == ["writes-latency: 150 requests, too few to compare their times with the server's histogram"]


def test_what_is_missed_beside_others_work_says_nothing() -> None:
    """Somebody compiles on the same two cores: slow reads may be theirs. What is met all the same is met."""
    slow = measured({"search": [0.02] * 2800 + [0.4] * 200, "book": [0.04] * 500})

    assert (verdict(slow, others=0.1).word, verdict(slow, others=0.6).word) == ("missed", "invalid")
    assert "others used 60 % of this machine's CPU time meanwhile" in verdict(slow, others=0.6).reasons
    assert verdict(measured(), others=0.6).word == "met"
    assert verdict(measured(), others=0.6).reasons == ["in spite of others, who used 60 % of this machine's CPU time"]
    assert verdict(slow, others=0.6, violations=["slot 1 has 2 appointments"]).word == "missed"


def test_a_profile_may_ask_for_more_than_the_objective() -> None:
    """Reads at 90 ms are fine on a day, and not at the peak; the reason names the peak's limit."""
    run = measured({"search": [0.09] * 3000, "book": [0.04] * 500})
    run.kinds["book"].latency.buckets.subtract({40: 1})
    run.kinds["book"].latency.never = 1
    peak = schedule("peak")
    said = decide(peak, gates_of(peak.profile), run, [])

    assert "Reads within 50 ms: p95 is up to 90 ms, 50 ms are promised" in said.reasons
    assert "Availability: 99.97 % were good, 100 % are promised" in said.reasons


def test_without_the_servers_word_nothing_is_met() -> None:
    """But a platform that died has missed, and needs none."""
    dead = measured({"search": [0.02] * 1000 + [None] * 2000, "book": [0.04] * 500})

    assert verdict(measured(), uncompared="gone").word == "invalid"
    assert verdict(dead, uncompared="gone").word == "missed"


def test_a_broken_promise_is_missed_whatever_else_is_wrong() -> None:
    """A double booking is one, also under a saturated generator."""
    run = measured()
    run.counts["dropped"] = 100

    broken = verdict(run, violations=["slot 1 has 2 appointments"])
    assert (broken.word, broken.reasons[0]) == ("missed", "slot 1 has 2 appointments")
    run.violations = ["slot 1 was shown"]
    assert verdict(run).word == "missed"


def test_a_load_that_was_less_than_intended_is_invalid() -> None:
    """Journeys that find nothing to do make it easy for everybody."""
    run = measured()
    run.counts["planned_requests"] = 5000

    assert "only 3500 of 5000 intended requests were sent" in verdict(run).reasons


def test_what_a_failure_cut_short_is_not_held_against_the_generator() -> None:
    """Whoever got a 5xx left: the platform has missed."""
    run = measured({"search": [0.02] * 2900 + [None] * 100, "book": [0.04] * 500})
    run.counts["planned_requests"], run.counts["cut_short"] = 5000, 1500

    assert verdict(run).word == "missed"


def test_answers_that_nobody_deserves_make_it_invalid() -> None:
    """A token that ran out is refused very quickly."""
    run = measured()
    run.unexpected["401 not-authenticated to me"] = 30

    assert "30 times 401 not-authenticated to me" in verdict(run).reasons[0]


def test_bookings_that_are_refused_are_cheap() -> None:
    """Most attempts must find a slot, or the data are too few."""
    run = measured()
    run.kinds["book"].statuses.clear()
    run.kinds["book"].statuses.update({"201": 100, "409 slot-taken": 400})
    run.counts["booked"] = 100

    assert "only 100 of 500 attempts to book found a slot: the data are too few" in verdict(run).reasons


def test_a_stampede_has_one_winner_for_each_slot() -> None:
    """Two winners, or none, is a broken promise."""
    run = measured({"book": [0.3] * 2500})
    run.winners.update({f"slot-{at}": 1 for at in range(5)})
    assert verdict(run, "stampede").word == "met"

    run.winners["slot-3"] = 2
    assert verdict(run, "stampede").word == "missed"
    del run.winners["slot-3"]
    assert "1 of 5 slots have no winner" in verdict(run, "stampede").reasons


def test_a_breakpoint_is_met_when_it_found_the_knee() -> None:
    """The highest rate that held, and the one that did not."""
    run = measured({"search": [0.02] * 3000 + [0.4] * 1500}, seconds=45)

    found = verdict(run, "breakpoint")
    assert found.word == "met"
    assert found.knee is not None
    assert (found.knee.held_requests_per_second, found.knee.missed_at_requests_per_second) == (62.5, 78.125)
    (missed,) = found.knee.missed
    assert missed.startswith("Reads within 200 ms: ")


def test_an_error_ends_a_breakpoint_as_slowness_does() -> None:
    """A step that refuses one of a hundred, quickly, has not held."""
    refusing: list[float | None] = [None if at > 1500 and at % 100 == 0 else 0.02 for at in range(4500)]

    found = verdict(measured({"search": refusing}, seconds=45), "breakpoint")
    assert found.knee is not None
    assert (found.knee.held_requests_per_second, found.knee.missed_at_requests_per_second) == (50.0, 62.5)
    (missed,) = found.knee.missed
    assert missed.startswith("Availability: ")


def test_a_breakpoint_that_missed_nothing_found_nothing() -> None:
    """The knee lies higher."""
    assert verdict(measured(), "breakpoint").word == "invalid"
