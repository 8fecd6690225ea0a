"""What is true of a history, computed from its events alone: no counters, no rates, no rules.

It knows the arithmetic of burn rates from the SRE workbook, and shares no code with what it judges.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STEP = 15  # seconds; events in between have no order


@dataclass(frozen=True)
class Span:
    """A stretch of time: so many seconds, so many events a second on average, that share of them bad."""

    seconds: int
    per_second: float
    bad: float = 0.0


@dataclass(frozen=True)
class Events:
    """The events of one step, and whether the process starts anew after it, its counters with it."""

    total: int
    bad: int
    restarts: bool = False


@dataclass(frozen=True)
class Pair:
    """Above *factor* times the budget in both windows, with *least* bad events in the long one.

    Not while nothing is older than *young* seconds.
    """

    long: int
    short: int
    factor: float
    least: int
    young: int = 0


FAST, STEADILY = Pair(3600, 300, 14.4, 5), Pair(6 * 3600, 1800, 6, 8, young=3600)
# What burns fast is said for so long after it is over.
KEPT = 180
P95_GUARD = Pair(3600, 300, 3, 18)


def happened(
    spans: Sequence[Span], *, seed: int = 1, step: int = STEP, restart_after: Sequence[int] = ()
) -> list[Events]:
    """Let events come by chance, the same for the same seed; *restart_after*: seconds of restarts."""
    chance = random.Random(seed)  # noqa: S311  # a history is no secret
    restarts = {second // step for second in restart_after}
    events = list[Events]()
    for span in spans:
        for _ in range(span.seconds // step):
            total = _poisson(chance, span.per_second * step)
            bad = total if span.bad == 1 else min(total, _poisson(chance, span.per_second * step * span.bad))
            events.append(Events(total, bad, restarts=len(events) in restarts))
    return events


def page_seconds(events: Sequence[Events], budget: float) -> list[int]:
    """Give every moment, in seconds from the start, at which somebody must be called.

    What burnt fast is not told again as burning steadily, for as long as the short window of that remembers it.
    """
    fast = burning_seconds(events, budget, FAST)
    kept = {second + after for second in fast for after in range(0, KEPT + 1, STEP)}
    told = {second + after for second in fast for after in range(0, STEADILY.short + 1, STEP)}
    return sorted(kept | set(burning_seconds(events, budget, STEADILY)) - told)


def burning_seconds(events: Sequence[Events], budget: float, pair: Pair) -> list[int]:
    """Give every moment, in seconds from the start, at which enough has burnt and still burns."""
    sums = list(_cumulative(events))
    return [step * STEP for step in range(1, len(events) + 1) if _burns(sums, step, pair, budget)]


def budget_left(events: Sequence[Events], budget: float) -> float:
    """Give what is left of the budget: 1 is all of it."""
    total, bad = sum(event.total for event in events), sum(event.bad for event in events)
    return 1 - bad / total / budget


def _burns(sums: Sequence[tuple[int, int]], now: int, pair: Pair, budget: float) -> bool:
    if now * STEP <= pair.young:
        return False
    for window in (pair.long, pair.short):
        before = sums[max(0, now - window // STEP)]
        total, bad = sums[now][0] - before[0], sums[now][1] - before[1]
        if not total or bad / total <= pair.factor * budget or (window == pair.long and bad < pair.least):
            return False
    return True


def _cumulative(events: Sequence[Events]) -> Iterator[tuple[int, int]]:
    total = bad = 0
    yield total, bad
    for event in events:
        total, bad = total + event.total, bad + event.bad
        yield total, bad


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(chance.gauss(mean, mean**0.5)))
    count, waited = 0, chance.expovariate(1)
    while waited < mean:
        count, waited = count + 1, waited + chance.expovariate(1)
    return count
