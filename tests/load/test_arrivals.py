"""People come as a Poisson process: from a seed, along a curve, and split over workers without a change."""

import math
import random
from itertools import chain, pairwise
from statistics import fmean, pvariance

from telemed_load.arrivals import crowd, poisson, stream

RATE, SECONDS = 50.0, 2000


def instants(seed: int = 1, rate: float = RATE, seconds: float = SECONDS) -> list[float]:
    return list(poisson(lambda _: rate, rate, begin=0, end=seconds, draw=random.Random(seed)))


def counts(at: list[float], seconds: int = SECONDS) -> list[int]:
    per_second = [0] * seconds
    for one in at:
        per_second[int(one)] += 1
    return per_second


def test_counts_have_the_mean_and_the_variance_of_a_poisson_process() -> None:
    """Both are the rate. Evenly spaced arrivals would have no variance at all."""
    per_second = counts(instants())

    # Three standard errors: of the mean sqrt(rate/n), of the variance about rate*sqrt(2/n).
    assert abs(fmean(per_second) - RATE) < 3 * math.sqrt(RATE / SECONDS)
    assert abs(pvariance(per_second) - RATE) < 3 * RATE * math.sqrt(2 / SECONDS)


def test_gaps_are_exponential() -> None:
    """Whoever came just now says nothing about who comes next: 1/e of the gaps are longer than the mean."""
    at = instants()
    gaps = [later - earlier for earlier, later in pairwise(at)]

    longer = sum(gap > 1 / RATE for gap in gaps) / len(gaps)
    assert abs(longer - math.exp(-1)) < 3 * math.sqrt(0.25 / len(gaps))
    assert abs(pvariance(gaps) * RATE**2 - 1) < 0.05


def test_the_same_seed_gives_the_same_people() -> None:
    """Two runs that are compared are the same run."""
    assert instants(7) == instants(7) != instants(8)


def test_the_rate_follows_the_curve() -> None:
    """Twice the rate in the second half, and nobody while it is zero."""
    curve = [10.0, 0.0, 20.0]
    at = list(poisson(lambda t: curve[int(t // 500)], 20, begin=0, end=1500, draw=random.Random(3)))

    first, none, last = (sum(begin <= one < begin + 500 for one in at) for begin in (0, 500, 1000))
    assert none == 0
    assert abs(first - 5000) < 3 * math.sqrt(5000)
    assert abs(last - 10000) < 3 * math.sqrt(10000)


def test_workers_together_are_the_whole() -> None:
    """Each draws a stream of its own at its part of the rate; the sum is a Poisson process again."""
    parts = [
        [one.at for one in stream(lambda _: RATE, RATE, {"a": 1}, begin=0, end=SECONDS, seed=5, worker=at, workers=4)]
        for at in range(4)
    ]

    assert len({part[0] for part in parts}) == 4
    for part in parts:
        assert abs(len(part) - RATE * SECONDS / 4) < 4 * math.sqrt(RATE * SECONDS / 4)
    per_second = counts(sorted(chain(*parts)))
    assert abs(fmean(per_second) - RATE) < 3 * math.sqrt(RATE / SECONDS)
    assert abs(pvariance(per_second) - RATE) < 3 * RATE * math.sqrt(2 / SECONDS)


def test_journeys_come_in_their_proportions() -> None:
    """Three visitors for one patient."""
    came = list(stream(lambda _: 20, 20, {"patient": 1, "visitor": 3}, begin=0, end=1000, seed=1))

    share = sum(one.journey == "patient" for one in came) / len(came)
    assert abs(share - 0.25) < 3 * math.sqrt(0.25 * 0.75 / len(came))


def test_a_crowd_is_split_without_losing_anybody() -> None:
    """Every one of the 500 is somewhere, once."""
    whole = crowd([1.0, 2.0], 500, "stampede")
    parts = [crowd([1.0, 2.0], 500, "stampede", worker=at, workers=3) for at in range(3)]

    assert sorted(chain(*parts), key=lambda one: one.number) == whole
    assert [sum(one.at == at for one in whole) for at in (1.0, 2.0)] == [500, 500]
