"""The server's own histogram is the second witness: where it tells another story, the run is worth nothing."""

import math
from dataclasses import replace

import pytest
from tests.load.samples import measured, page

from telemed_load.exposition import Unreadable, compare, compare_all, growth, interpolated
from telemed_load.gates import Gate, load_gates
from telemed_load.measurements import Measurements

READS = [0.02] * 930 + [0.18] * 70
GATE = next(gate for gate in load_gates() if gate.slo == "reads-latency")


def told(run: Measurements, gate: Gate = GATE) -> str:
    return compare(gate, run, growth(run.scrapes["before"], run.scrapes["after"])).disagreement


def run(**after: str) -> Measurements:
    made = measured({"search": READS})
    made.scrapes = {"before": [page({})], "after": [after.get("after", page({"search": READS}))]}
    return made


def test_two_that_saw_the_same_agree() -> None:
    """In every gate, also where nothing was asked."""
    assert [one.disagreement for one in compare_all(load_gates(), run())] == ["", "", ""]


def test_a_tenth_more_at_the_quantile_is_a_contradiction() -> None:
    """The share within the limit may be the same all the while."""
    assert told(run(after=page({"search": READS}, slower=0.7))) == "p95 is 0.18 s here, and from 0.1 to 0.15 s there"


def test_a_tenth_is_one_whichever_side_is_slower() -> None:
    """But not the p98: what lies beyond the quantile decides no gate."""
    here = measured({"search": [0.02] * 930 + [0.11] * 70})
    here.scrapes["after"] = [page({"search": [0.02] * 930 + [0.19] * 70})]
    assert told(here) == "p95 is 0.11 s here, and from 0.15 to 0.2 s there"

    here.scrapes["after"] = [page({"search": [0.02] * 930 + [0.11] * 50 + [0.19] * 20})]
    assert told(here) == ""


def test_another_share_within_the_limit_is_a_contradiction() -> None:
    """A fifth of the requests took 190 ms here and 290 there."""
    here = [0.02] * 800 + [0.19] * 200
    made = measured({"search": here})
    made.scrapes["after"] = [page({"search": [0.02] * 800 + [0.29] * 200})]

    assert "share within the limit: 1 here, 0.8 there" in told(made)


def test_requests_of_somebody_else_are_a_contradiction() -> None:
    """Two loads at once measure one another."""
    assert "requests: 1000 here, 1200 there" in told(run(after=page({"search": [*READS, *READS[:200]]})))


def test_a_single_request_on_the_other_side_of_an_edge_is_none() -> None:
    """Few in a wide bucket: quantiles drawn through it would jump, and yet both saw the same."""
    here = [0.02] * 280 + [0.101] * 10 + [0.14] * 10
    made = measured({"search": here})
    made.scrapes["after"] = [page({"search": [0.02] * 280 + [0.099] * 10 + [0.138] * 10})]

    assert told(made) == ""


def test_too_few_to_compare_are_said_to_be() -> None:
    """Of 150 requests the slowest twentieth are seven: what the two tell of those is chance, no contradiction."""
    made = measured({"search": [0.02] * 140 + [0.18] * 10})
    made.scrapes["after"] = [page({"search": [0.02] * 144 + [0.12] * 6})]
    said = compare(GATE, made, growth(made.scrapes["before"], made.scrapes["after"]))

    assert (said.disagreement, said.times) == ("", "too few")
    assert compare(GATE, run(), growth(run().scrapes["before"], run().scrapes["after"])).times == "compared"


def test_few_are_still_counted() -> None:
    """Somebody else's load shows, and a share that is another altogether; one request at the window's edge does not."""
    made = measured({"search": [0.02] * 20})
    for there, word in (([0.02] * 60, "requests: 20 here, 60 there"), ([0.3] * 20, "share within"), ([0.02] * 17, "")):
        made.scrapes["after"] = [page({"search": there})]
        assert word in told(made) if word else told(made) == ""


def test_a_limit_between_two_edges_is_compared_at_the_lower_one() -> None:
    """A profile may ask for any time; a histogram has only its own."""
    between = replace(GATE, threshold_seconds=0.17)

    assert told(run(), between) == ""
    assert "share within the limit: 0.93 here, 0.5 there" in told(
        run(after=page({"search": [0.02] * 500 + [0.18] * 500})), between
    )


def test_times_that_nobody_promises_are_not_compared() -> None:
    """500 at one instant wait to be read, which the server does not see; that it answered as many, it does."""
    made = run(after=page({"search": READS}, slower=0.1))
    gates, others = load_gates(), ["availability"]

    assert any(one.disagreement for one in compare_all(gates, made))
    assert not any(one.disagreement for one in compare_all(gates, made, others))
    made = run(after=page({"search": READS * 2}))
    assert any("requests: 1000 here, 2000 there" in one.disagreement for one in compare_all(gates, made, others))


def test_what_no_bucket_can_tell_is_none() -> None:
    """3 ms here and 1 ms there: both are in the first bucket."""
    made = measured({"search": [0.003] * 1000})
    made.scrapes["after"] = [page({"search": [0.001] * 1000})]

    assert told(made) == ""


def test_what_was_there_before_is_not_counted() -> None:
    """Only what grew in the window."""
    made = run(after=page({"search": [*READS, *READS]}))
    made.scrapes["before"] = [page({"search": READS})]

    assert told(made) == ""


def test_several_processes_are_added_up() -> None:
    """Each shows its own."""
    made = run()
    made.scrapes = {"before": [page({})] * 2, "after": [page({"search": READS[::2]}), page({"search": READS[1::2]})]}

    assert told(made) == ""


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([page({"search": READS})], [page({})], "began anew"),
        ([page({})], ["# http://x/metrics cannot be read: ConnectionRefusedError"], "ConnectionRefused"),
        ([], [], "no server"),
    ],
)
def test_pages_that_do_not_cover_the_window_are_said_to(before: list[str], after: list[str], why: str) -> None:
    """A process that was restarted in between has forgotten."""
    with pytest.raises(Unreadable, match=why):
        growth(before, after)


def test_a_quantile_lies_on_a_line_within_its_bucket() -> None:
    """As `histogram_quantile` of Prometheus has it."""
    assert interpolated({0.1: 50, 0.2: 100, math.inf: 100}, 0.75) == pytest.approx(0.15)
    assert interpolated({0.1: 50, math.inf: 100}, 0.95) == 0.1
