"""When people come: a Poisson process whose rate follows a curve. Knows no clock and sends nothing.

Poisson, because people do not wait for one another: gaps of equal length would hide what two who come together do to a
queue. From a seed, because two runs that are compared must be the same run.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Curve = Callable[[float], float]  # seconds since the window began, which may be negative -> arrivals a second


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who comes *at* a time, in seconds since the measured window began, for a journey."""

    at: float
    journey: str
    number: int  # of this worker's arrivals; with the seed it decides everything that the journey draws


def poisson(curve: Curve, highest: float, *, begin: float, end: float, draw: random.Random) -> Iterator[float]:
    """Give the instants of a Poisson process with the rate of the curve, in order.

    By thinning: candidates come at the constant rate *highest*, which the curve must never exceed, and each is kept
    with the probability curve/highest. Source: Lewis and Shedler 1979.
    """
    if highest <= 0:
        return
    at = begin
    while (at := at + draw.expovariate(highest)) < end:
        if draw.random() * highest < curve(at):
            yield at


def share_of(curve: Curve, workers: int) -> Curve:
    """Give what each of so many workers does of the whole: independent Poisson processes add up to one."""
    return lambda at: curve(at) / workers


def seed_of(seed: int, worker: int) -> str:
    """Give the seed of one worker: each must draw a stream of its own, or all would come at the same instants."""
    return f"{seed}/{worker}"


def stream(
    curve: Curve,
    highest: float,
    weights: dict[str, float],
    *,
    begin: float,
    end: float,
    seed: int,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[Arrival]:
    """Give one worker's arrivals; *weights* decide how many of them are for which journey."""
    draw = random.Random(seed_of(seed, worker))  # noqa: S311 - to be repeated, not to be secret
    names, shares = list(weights), list(weights.values())
    instants = poisson(share_of(curve, workers), highest / workers, begin=begin, end=end, draw=draw)
    for number, at in enumerate(instants):
        yield Arrival(at, draw.choices(names, shares)[0], number)


def crowd(rounds: Sequence[float], clients: int, journey: str, *, worker: int = 0, workers: int = 1) -> list[Arrival]:
    """Give one worker's part of crowds who all come at the same instants: no process, a stampede."""
    everybody = [at for at in rounds for _ in range(clients)]
    return [Arrival(at, journey, number) for number, at in enumerate(everybody) if number % workers == worker]
