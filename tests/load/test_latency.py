"""What a sample says about the quantile behind it, held against arithmetic done the long way."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from telemed_load.latency import Milliseconds, ratio_at_least, upper_rank


def sample(seconds: Sequence[float | None]) -> Milliseconds:
    made = Milliseconds()
    for one in seconds:
        made.add(one)
    return made


def exact_rank(count: int, ratio: Fraction, confidence: Fraction) -> int | None:
    """Sum the binomial in fractions, from the beginning."""
    below = Fraction(0)
    for successes in range(count):
        below += math.comb(count, successes) * ratio**successes * (1 - ratio) ** (count - successes)
        if below >= confidence:
            return successes + 1
    return None


@pytest.mark.parametrize("ratio", [Fraction(95, 100), Fraction(99, 100), Fraction(1, 2)])
def test_the_rank_of_the_bound_is_that_of_exact_arithmetic(ratio: Fraction) -> None:
    """For small samples, and for some hundreds."""
    for count in [*range(1, 70), 298, 299, 300, 459]:
        assert upper_rank(count, float(ratio)) == exact_rank(count, ratio, Fraction(95, 100)), count


def test_too_few_have_no_bound() -> None:
    """Of 58 times none is above the p95 with 95 % confidence; of 59 the greatest is. Of the p99 it takes 299."""
    assert (upper_rank(58, 0.95), upper_rank(59, 0.95)) == (None, 59)
    assert (upper_rank(298, 0.99), upper_rank(299, 0.99)) == (None, 299)
    assert sample([0.01] * 58).quantile_at_most(0.95) == math.inf


def test_large_samples_are_bounded_in_no_time() -> None:
    """A million requests: the rank lies 1.645 standard deviations above."""
    rank = upper_rank(1_000_000, 0.95)

    assert rank is not None
    assert abs(rank - (950_000 + 1.645 * math.sqrt(1_000_000 * 0.95 * 0.05))) < 2


def test_the_bound_holds_as_often_as_it_promises() -> None:
    """Of 2,000 samples of exponential times, 95 % have a bound above the true quantile."""
    draw = random.Random(11)
    truth = -math.log(0.05)
    held = sum(sample([draw.expovariate(1) for _ in range(200)]).quantile_at_most(0.95) >= truth for _ in range(2000))

    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000) <= held / 2000 <= 0.985


def test_times_are_rounded_up_to_a_millisecond() -> None:
    """No rounding makes a time look better: 147.2 ms is 148, not the 150 or 147 of Locust."""
    assert sample([0.1472]).quantile(1.0) == 0.148
    assert sample([0.2]).within(0.2) == 1
    assert sample([0.2001]).within(0.2) == 0


def test_what_was_never_served_is_slower_than_everything() -> None:
    """Six of a hundred failed: the p95 is infinite."""
    assert sample([0.001] * 94 + [None] * 6).quantile(0.95) == math.inf
    assert sample([0.001] * 94 + [None] * 6).quantile(0.94) == 0.001


def test_samples_add_up_and_survive_being_written() -> None:
    """Workers' and seconds' samples are put together without a loss."""
    one, other = sample([0.001, 0.002, None]), sample([0.002])
    whole = Milliseconds.sum([one, other])

    assert whole.count == 4
    assert Milliseconds.from_json(whole.to_json()) == whole
    assert one.count == 3


@pytest.mark.parametrize(("good", "count"), [(0, 10), (1, 10), (59, 60), (60, 60), (199, 200)])
def test_what_is_proven_of_a_share_is_that_of_exact_arithmetic(good: int, count: int) -> None:
    """At the bound, so many good ones or more would be a surprise of 5 %."""
    bound = ratio_at_least(good, count)
    tail = sum(math.comb(count, number) * bound**number * (1 - bound) ** (count - number)
               for number in range(good, count + 1))  # fmt: skip

    assert bound == 0 if good == 0 else math.isclose(tail, 0.05, rel_tol=1e-6)
