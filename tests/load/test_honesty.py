"""What the load says must be true: a server that stalls looks bad, and a generator at its end says so.

Locust runs in processes of its own here, as always: its gevent would change the standard library under the other tests.
"""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.load.generators import generated, schedule, stub

from telemed_load.arrivals import poisson
from telemed_load.exposition import compare_all
from telemed_load.gates import load_gates
from telemed_load.latency import Milliseconds
from telemed_load.measurements import Measurements
from telemed_load.shapes import Schedule
from telemed_load.verdict import Verdict, decide

STALLS = ("--every", "10", "--stall", "1")


def verdict(plan: Schedule, run: Measurements) -> Verdict:
    gates = load_gates()
    return decide(plan, gates, run, compare_all([gate for gate in gates if gate.slo == "reads-latency"], run))


def test_a_server_that_stalls_for_a_second_in_ten_has_missed(tmp_path: Path) -> None:
    """Who comes while it stalls waits, and counts: the p95 and the p99 show it, and the verdict is missed."""
    plan = schedule(rate=60, seconds=10)
    with stub(tmp_path, *STALLS) as (url, _):
        run = generated(tmp_path, plan, url)

    latency = run.kinds["search"].latency
    assert latency.quantile(0.95) > 0.2
    assert latency.quantile(0.99) > 0.5
    said = verdict(plan, run)
    assert (said.word, [one.slo for one in said.gates if one.is_met is False]) == ("missed", ["reads-latency"])


def test_a_stall_that_the_server_does_not_see_makes_it_invalid(tmp_path: Path) -> None:
    """While nothing is read, its histogram runs no clock: the two tell different stories."""
    plan = schedule(rate=60, seconds=10)
    with stub(tmp_path, *STALLS, "--blind") as (url, _):
        run = generated(tmp_path, plan, url)

    assert run.kinds["search"].latency.quantile(0.95) > 0.2
    said = verdict(plan, run)
    assert said.word == "invalid"
    assert any("the server's histogram disagrees" in reason for reason in said.reasons)


def test_a_closed_model_would_have_hidden_it() -> None:
    """The same server in numbers: ten users who wait for their answers are hit once each, and the p95 is fine."""

    def answered(at: float) -> float:
        place = at % 10
        return at + (10 - place if place >= 9 else 0.0) + 0.005

    assert closed(answered, users=10, think=0.1, seconds=100).quantile(0.95) < 0.01
    assert opened(answered, rate=60, seconds=100).quantile(0.95) > 0.2


def closed(answered: Callable[[float], float], *, users: int, think: float, seconds: float) -> Milliseconds:
    """Ask again when the answer is there: what Locust does on its own."""
    sample = Milliseconds()
    for user in range(users):
        at = user * think / users
        while at < seconds:
            done = answered(at)
            sample.add(done - at)
            at = done + think
    return sample


def opened(answered: Callable[[float], float], *, rate: float, seconds: float) -> Milliseconds:
    """Ask when somebody comes."""
    sample = Milliseconds()
    for at in poisson(lambda _: rate, rate, begin=0, end=seconds, draw=random.Random(1)):
        sample.add(answered(at) - at)
    return sample


def test_arrivals_that_find_no_hand_are_counted_as_dropped(tmp_path: Path) -> None:
    """Two hands, and each answer takes a second: most are dropped, none is passed over in silence."""
    plan = schedule(rate=20, seconds=5, hands=2, start_within_seconds=0.2)
    with stub(tmp_path, "--every", "1", "--stall", "1") as (url, _):
        run = generated(tmp_path, plan, url)

    came = sum(1 for one in plan.arrivals())
    counts = run.counts
    assert counts["dropped"] > 0
    assert counts["arrivals"] == counts["planned_requests"] == came
    assert counts["sent_requests"] + counts["dropped"] == came
    assert verdict(plan, run).word == "invalid"


def test_a_server_that_dies_has_missed(tmp_path: Path) -> None:
    """Its connections are refused, and each of those is a request that was not served."""
    plan = schedule(rate=40, seconds=4)
    with stub(tmp_path) as (url, process):
        process.kill()
        process.wait()
        run = generated(tmp_path, plan, url)

    assert run.kinds["search"].latency.never == run.counts["sent_requests"] > 100
    assert decide(plan, load_gates(), run, [], uncompared="gone").word == "missed"


def test_what_no_journey_deserves_is_not_counted_as_good(tmp_path: Path) -> None:
    """404 is an answer within no time, and the wrong address."""
    plan = schedule(rate=40, seconds=3)
    with stub(tmp_path, "--status", "404") as (url, _):
        run = generated(tmp_path, plan, url)

    assert verdict(plan, run).word == "invalid"
    assert run.unexpected["404 to search"] == run.counts["sent_requests"]


def test_workers_share_the_load_and_their_figures_are_put_together(tmp_path: Path) -> None:
    """Two workers: half of the people each, none twice, and the master has what both measured."""
    plan = schedule(rate=40, seconds=4)
    with stub(tmp_path) as (url, _):
        run = generated(tmp_path, plan, url, workers=2)

    parts = [sum(1 for _ in plan.arrivals(worker=at, workers=2)) for at in range(2)]
    assert min(parts) > 0
    assert run.counts["arrivals"] == run.counts["sent_requests"] == sum(parts)
    assert (run.counts["workers_told"], run.counts["workers_heard"], len(run.health)) == (2, 2, 2)
    assert run.requests == run.kinds["search"].latency.count == sum(second.all.count for second in run.seconds.values())


@pytest.mark.parametrize("module", ["command", "run", "results", "verdict", "journeys", "accounts"])
def test_gevent_stays_in_locusts_process(module: str) -> None:
    """Everything but the generator can be imported without changing the standard library."""
    code = f"import sys, telemed_load.{module}; sys.exit('gevent' in sys.modules or 'locust' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "load-tests:services"}, check=False)
    assert answer.returncode == 0
