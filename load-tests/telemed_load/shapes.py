"""From a profile to arrivals: how many come a second, and for which journeys. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from telemed_load.arrivals import Arrival, Curve, crowd, stream
from telemed_load.problems import LoadProblem
from telemed_load.profile import DAY_SECONDS, Breakpoint, Day, Mix, Profile, Spike, Stampede, Steady

STAMPEDE = "stampede"  # the journey of those who want one slot
FIRST_CROWD_SECONDS = 1.0  # from the window's beginning


@dataclass(frozen=True)
class Schedule:
    """Who comes when. Rates are consultations a second, around which the journeys come."""

    profile: Profile
    mix: Mix
    scale: float

    def __post_init__(self) -> None:
        if not isinstance(self.profile.shape, Stampede) and not self.requests_per_consultation:
            raise LoadProblem("Nobody comes: of no journey of the mix there is any for a consultation.")

    @property
    def weights(self) -> dict[str, float]:
        """How many journeys of each kind come for one consultation."""
        chosen = self.profile.journeys or {name: one.per_consultation for name, one in self.mix.journeys.items()}
        return {name: share for name, share in chosen.items() if share > 0}

    @property
    def requests_per_consultation(self) -> float:
        """How many requests come with one consultation, those of journeys that lead to none included."""
        return sum(share * self.mix.journeys[name].requests for name, share in self.weights.items())

    def requests_per_second(self, at: float) -> float:
        """How many requests a second are intended by those who come *at* a time."""
        return self.consultations_per_second(at) * self.requests_per_consultation

    def consultations_per_second(self, at: float) -> float:
        """Give the rate *at* so many seconds after the window began; before, it is what it begins with."""
        shape, moment = self.profile.shape, max(0.0, at)
        match shape:
            case Day():
                return self.scale * shape.consultations_per_day / DAY_SECONDS * hour_factor(shape, moment)
            case Steady():
                rate = shape.requests_per_second
            case Spike():
                is_high = shape.begins_at_seconds <= moment < shape.begins_at_seconds + shape.lasts_seconds
                rate = shape.requests_per_second * (shape.times if is_high else 1.0)
            case Breakpoint():
                rate = step_rate(shape, int(moment // shape.step_seconds))
            case Stampede():
                return 0.0
        return self.scale * rate / self.requests_per_consultation

    def arrivals(self, *, worker: int = 0, workers: int = 1) -> Iterator[Arrival]:
        """Give one worker's part of all who come, from the warm-up on, in order."""
        shape = self.profile.shape
        if isinstance(shape, Stampede):
            clients = max(2, round(shape.clients * self.scale))
            rounds = [FIRST_CROWD_SECONDS + place * shape.every_seconds for place in range(shape.slots)]
            return iter(crowd(rounds, clients, STAMPEDE, worker=worker, workers=workers))
        journeys = sum(self.weights.values())
        curve: Curve = lambda at: journeys * self.consultations_per_second(at)  # noqa: E731 - a function to hand on
        return stream(
            curve,
            journeys * self._highest(),
            self.weights,
            begin=-self.profile.warm_up_seconds,
            end=self.profile.seconds,
            seed=self.profile.seed,
            worker=worker,
            workers=workers,
        )

    def _highest(self) -> float:
        shape = self.profile.shape
        if isinstance(shape, Day):
            return self.scale * shape.consultations_per_day / DAY_SECONDS * max(shape.hours) * 24 / sum(shape.hours)
        # Rates of the others change at whole steps only; a quarter of a second misses none of them.
        return max(self.consultations_per_second(place / 4) for place in range(int(self.profile.seconds * 4) + 1))


def hour_factor(shape: Day, at: float) -> float:
    """Give how many times the day's mean come *at* this moment: a line from the middle of an hour to the next one's."""
    mean = sum(shape.hours) / 24
    place = at / shape.seconds * 24 - 0.5
    earlier, part = int(place // 1), place % 1
    return ((1 - part) * shape.hours[earlier % 24] + part * shape.hours[(earlier + 1) % 24]) / mean


def step_rate(shape: Breakpoint, step: int) -> float:
    """Give the requests a second of a step of the breakpoint."""
    return shape.begins_at_requests_per_second * shape.factor ** min(step, shape.steps - 1)
