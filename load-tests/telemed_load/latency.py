"""Times in buckets of a millisecond, and what a sample of them says about the quantile behind it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONFIDENCE = 0.95


@dataclass
class Milliseconds:
    """How many took up to so many milliseconds; *never* counts those that got no answer that counts."""

    buckets: Counter[int] = field(default_factory=Counter)
    never: int = 0

    def add(self, seconds: float | None) -> None:
        """Count one; None: it was never served, and is slower than every time there is."""
        if seconds is None:
            self.never += 1
        else:
            # Up, so that no rounding makes a time look better than it was.
            self.buckets[max(1, math.ceil(seconds * 1000))] += 1

    @property
    def count(self) -> int:
        """How many there are, those that were never served among them."""
        return self.buckets.total() + self.never

    def within(self, seconds: float) -> int:
        """How many took no longer than that."""
        limit = round(seconds * 1000)
        return sum(times for bucket, times in self.buckets.items() if bucket <= limit)

    def at_rank(self, rank: int) -> float:
        """Give the *rank*-th smallest time in seconds, from 1; infinite where that one was never served."""
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return bucket / 1000
        return math.inf

    def quantile(self, ratio: float) -> float:
        """Give the time within which this share was served, in seconds; NaN of nothing."""
        return self.at_rank(max(1, math.ceil(ratio * self.count))) if self.count else math.nan

    def quantile_at_most(self, ratio: float, confidence: float = CONFIDENCE) -> float:
        """Give what the true quantile does not exceed, with this confidence; infinite if there are too few to say."""
        rank = upper_rank(self.count, ratio, confidence)
        return math.inf if rank is None else self.at_rank(rank)

    def to_json(self) -> dict[str, int]:
        """Write it down; JSON's keys are strings."""
        return {str(bucket): times for bucket, times in sorted(self.buckets.items())} | {"never": self.never}

    @classmethod
    def from_json(cls, written: Mapping[str, int]) -> "Milliseconds":
        """Read what `to_json` wrote."""
        buckets = Counter({int(bucket): times for bucket, times in written.items() if bucket != "never"})
        return cls(buckets, written.get("never", 0))

    @classmethod
    def sum(cls, parts: Iterable["Milliseconds"]) -> "Milliseconds":
        """Put samples together: those of several kinds of requests, seconds or workers."""
        whole = cls()
        for part in parts:
            whole.buckets.update(part.buckets)
            whole.never += part.never
        return whole


def upper_rank(count: int, ratio: float, confidence: float = CONFIDENCE) -> int | None:
    """Give the smallest rank whose order statistic is an upper bound of the quantile; None: the sample has none.

    How many of *count* independent times lie below the true quantile is binomial, whatever their distribution; the
    value of rank k is no less than the quantile unless k or more lie below it.
    """
    spread = math.sqrt(count * ratio * (1 - ratio))
    # What lies below twelve standard deviations is less than a float can tell from nothing.
    first = max(0, math.floor(count * ratio - 12 * spread) - 1)
    below = 0.0
    for successes in range(first, count):
        below += _binomial(successes, count, ratio)
        if below >= confidence:
            return successes + 1
    return None


def ratio_at_least(good: int, count: int, confidence: float = CONFIDENCE) -> float:
    """Give the share that the true one is not below, with this confidence (Clopper and Pearson, one-sided)."""
    if good == 0:
        return 0.0
    low, high = 0.0, good / count
    for _ in range(60):
        middle = (low + high) / 2
        # Would so many good ones be a surprise, were this the truth?
        if sum(_binomial(number, count, middle) for number in _upper_tail(good, count, middle)) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _upper_tail(good: int, count: int, ratio: float) -> range:
    reach = 12 * math.sqrt(count * ratio * (1 - ratio)) + 12
    return range(good, min(count, math.ceil(max(good, count * ratio) + reach)) + 1)


def _binomial(successes: int, count: int, ratio: float) -> float:
    if ratio in {0.0, 1.0}:
        return float(successes == count * ratio)
    ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(ways + successes * math.log(ratio) + (count - successes) * math.log1p(-ratio))
