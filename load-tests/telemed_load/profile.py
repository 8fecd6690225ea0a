"""What a sceptic can change: a profile (how many come, and when) and the mix (what they do). Both are YAML."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from telemed_load.problems import LoadProblem
from telemed_load.routes import ROUTES

PROFILES = Path(__file__).parents[1] / "profiles"
DAY_SECONDS = 24 * 3600
ReadT = TypeVar("ReadT", bound=BaseModel)
Share = Annotated[float, Field(ge=0)]
CORES_FOR_THE_WHOLE = 2  # that 100,000 consultations a day and their generator were found to fit on


class Strict(BaseModel):
    """Refuses what it does not know: a slip of the finger must not be a setting that nothing reads."""

    # YAML has .inf and .nan, of which no arrival and no end of a window can be made.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Step(Strict):
    """A request of a journey, made so many times; a fraction is a chance."""

    do: str
    times: float = Field(default=1.0, ge=0, le=100)

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.do not in ROUTES:
            raise ValueError(f"do: {self.do!r} is none of {', '.join(sorted(ROUTES))}")
        return self


class Journey(Strict):
    """What somebody does who comes."""

    who: Literal["patient", "doctor", "admin", "nobody"]
    per_consultation: float = Field(ge=0)
    logs_in: bool = True  # whether the mix's shares of logins and refreshes hold for it
    steps: list[Step] = Field(min_length=1)

    @property
    def requests(self) -> float:
        """How many requests it makes on average."""
        return sum(step.times for step in self.steps)


class Think(Strict):
    """From one request of a person to their next: a least time, and more that is drawn (exponential)."""

    at_least_seconds: float = Field(ge=0)
    mean_seconds: float = Field(gt=0)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.mean_seconds < self.at_least_seconds:
            raise ValueError("mean_seconds cannot be less than at_least_seconds")
        return self


class Search(Strict):
    """What is searched for."""

    chooses_day_share: float = Field(ge=0, le=1)
    chooses_doctor_share: float = Field(ge=0, le=1)
    chooses_language_share: float = Field(ge=0, le=1)
    days_ahead: int = Field(ge=1, le=365)
    limit: int = Field(ge=1, le=100)


class Mix(Strict):
    """The journeys, the pauses between their requests, and what they look for."""

    think: Think
    search: Search
    login_share: float = Field(ge=0, le=1)
    refresh_share: float = Field(ge=0, le=1)
    chooses_among: int = Field(ge=1, le=100)
    tries_to_book: int = Field(ge=1, le=10)
    journeys: dict[str, Journey]


class Day(Strict):
    """A day's curve, played at its true rates in less time."""

    kind: Literal["day"]
    consultations_per_day: float = Field(gt=0)
    seconds: float = Field(gt=0)
    hours: list[Share] = Field(min_length=24, max_length=24)

    @model_validator(mode="after")
    def _has_an_hour(self) -> Self:
        if not any(self.hours):
            raise ValueError("hours: nobody comes in any of them")
        return self


class Steady(Strict):
    """Always the same rate; for an hour it is a soak."""

    kind: Literal["steady"]
    requests_per_second: float = Field(gt=0)
    seconds: float = Field(gt=0)


class Spike(Strict):
    """A steady rate that is multiplied for a while."""

    kind: Literal["spike"]
    requests_per_second: float = Field(gt=0)
    times: float = Field(ge=1)
    begins_at_seconds: float = Field(ge=0)
    lasts_seconds: float = Field(gt=0)
    seconds: float = Field(gt=0)

    @model_validator(mode="after")
    def _is_in_the_window(self) -> Self:
        # Otherwise a run without its spike, or without what comes after it, is judged as if it had borne it.
        ends = self.begins_at_seconds + self.lasts_seconds
        if ends > self.seconds:
            raise ValueError(f"seconds: the spike is over after {ends:g} s, the window after {self.seconds:g} s")
        return self


class Stampede(Strict):
    """Everybody wants one slot at one instant; several slots, one after the other."""

    kind: Literal["stampede"]
    clients: int = Field(ge=2, le=5000)
    slots: int = Field(ge=1, le=100)
    every_seconds: float = Field(gt=0)

    @property
    def seconds(self) -> float:
        """How long all of it takes."""
        return self.slots * self.every_seconds


class Breakpoint(Strict):
    """Steps of rising rates, until a gate is missed."""

    kind: Literal["breakpoint"]
    begins_at_requests_per_second: float = Field(gt=0)
    factor: float = Field(gt=1)
    step_seconds: float = Field(ge=5)
    steps: int = Field(ge=2, le=100)

    @property
    def seconds(self) -> float:
        """How long all of it takes, if nothing is missed."""
        return self.steps * self.step_seconds


Shape = Annotated[Day | Steady | Spike | Stampede | Breakpoint, Field(discriminator="kind")]


class People(Strict):
    """Who takes part, and what they start with."""

    patients: int = Field(ge=1)
    doctors: int = Field(ge=1)
    slots: int = Field(ge=0)  # published before the window, over all doctors
    due: int = Field(default=0, ge=0)  # appointments booked before the window whose visits may begin in it


class Generator(Strict):
    """Where the generator ends: beyond any of these it does not measure the platform but itself."""

    hands: int = Field(ge=1)  # journeys under way at once
    start_within_seconds: float = Field(gt=0)  # an arrival that finds no hand by then is dropped
    request_timeout_seconds: float = Field(gt=0)
    cpu_ratio_at_most: float = Field(gt=0, le=1)
    lag_seconds_at_most: float = Field(gt=0)
    bad_seconds_ratio_at_most: float = Field(ge=0, le=1)  # seconds that may be beyond these
    sent_ratio_at_least: float = Field(ge=0, le=1)  # of the requests that the profile intends
    booked_ratio_at_least: float = Field(ge=0, le=1)  # of the attempts to book


class Stricter(Strict):
    """What a profile asks of a gate beyond the objective."""

    threshold_seconds: float | None = Field(default=None, gt=0)
    objective_ratio: float | None = Field(default=None, gt=0, le=1)


class Profile(Strict):
    """One load."""

    title: str
    shape: Shape
    mix: str = "mix.yaml"
    journeys: dict[str, Share] | None = None  # instead of the mix's: how many of each for a consultation
    gates: list[str] | None = None  # instead of all
    stricter: dict[str, Stricter] = Field(default_factory=dict)  # by gate
    seed: int
    warm_up_seconds: float = Field(ge=0)
    people: People
    generator: Generator

    @property
    def seconds(self) -> float:
        """How long the measured window is."""
        return self.shape.seconds


def load_profile(name: str) -> tuple[Profile, Mix]:
    """Read a profile, by the name of a file in load-tests/profiles/ or by a path, and the mix that it names.

    Raises:
        LoadProblem: there is none, or it is wrong, in one sentence.
    """
    named = PROFILES / f"{name}.yaml"
    path = named if named.exists() else Path(name)
    profile = _read(Profile, path)
    beside = path.parent / profile.mix
    mix = _read(Mix, beside if beside.exists() else PROFILES / profile.mix)
    for chosen in profile.journeys or {}:
        if chosen not in mix.journeys:
            raise LoadProblem(f"{path}: journeys: {chosen!r} is none of {', '.join(mix.journeys)}.")
    return profile, mix


def lasting(profile: Profile, seconds: float) -> Profile:
    """Give the profile with a window of another length.

    Raises:
        LoadProblem: the shape has a length of its own, or does not fit into this one.
    """
    if "seconds" not in type(profile.shape).model_fields:
        raise LoadProblem(f"--seconds: the length of a {profile.shape.kind} follows from its own steps.")
    try:
        shape = type(profile.shape).model_validate(profile.shape.model_dump() | {"seconds": seconds})
    except ValidationError as error:
        raise LoadProblem(f"--seconds: {_first(error)}.") from error
    return profile.model_copy(update={"shape": shape})


def default_scale(cores: int | None = None) -> float:
    """Give the share of the profile's rates that this machine is to bear, by its cores."""
    return min(1.0, (cores or os.cpu_count() or 1) / CORES_FOR_THE_WHOLE)


def _read(kind: type[ReadT], path: Path) -> ReadT:
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(one.stem for one in PROFILES.glob("*.yaml") if one.stem != "mix"))
        raise LoadProblem(f"There is no profile {path}: {error.strerror}. Known: {known}.") from error
    except UnicodeDecodeError as error:
        raise LoadProblem(f"{path} is no text in UTF-8.") from error
    except yaml.YAMLError as error:
        raise LoadProblem(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        raise LoadProblem(f"{path}: {_first(error)}.") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return ": ".join([".".join(str(part) for part in first["loc"]), first["msg"]]).removeprefix(": ")
