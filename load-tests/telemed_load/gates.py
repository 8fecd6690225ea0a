"""The objectives as gates: load-tests/gates.json, written by `telemed slo build`, against what was measured."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from telemed_load.latency import CONFIDENCE, Milliseconds, ratio_at_least
from telemed_load.measurements import Measurements
from telemed_load.problems import LoadProblem
from telemed_load.profile import Profile
from telemed_load.routes import ROUTES, Route

GATES = Path(__file__).parents[1] / "gates.json"


@dataclass(frozen=True, slots=True)
class Gate:
    """An objective: this share of these requests is good. Without a threshold: is answered below 500."""

    slo: str
    title: str
    objective_ratio: float
    threshold_seconds: float | None
    methods: tuple[str, ...] | None
    route: str | None

    def covers(self, route: Route) -> bool:
        """Tell whether the gate speaks of such requests."""
        return (self.methods is None or route.method in self.methods) and self.route in {None, route.template}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a gate says of a run. *is_met* is None where there were too few requests to say anything."""

    slo: str
    title: str
    requests: int
    objective_ratio: float
    good_ratio: float | None
    proven_ratio: float | None  # the share that the true one is not below, with 95 % confidence
    threshold_seconds: float | None
    quantile_seconds: float | None  # the time within which the objective's share was served; None: never
    quantile_at_most_seconds: float | None  # the bound of it that is compared with the threshold
    is_met: bool | None

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return asdict(self)


def load_gates(path: Path = GATES) -> list[Gate]:
    """Read the gates."""
    return [
        Gate(
            slo=one["slo"],
            title=one["title"],
            objective_ratio=one["objective_ratio"],
            threshold_seconds=one["threshold_seconds"],
            methods=tuple(one["methods"]) if one["methods"] else None,
            route=one["route"],
        )
        for one in json.loads(path.read_text(encoding="utf-8"))["gates"]
    ]


def gates_of(profile: Profile, objectives: Sequence[Gate] | None = None) -> list[Gate]:
    """Give every gate as the profile has it: the objective, or what it asks beyond.

    Raises:
        LoadProblem: the profile names a gate that there is not, or asks for less than was promised.
    """
    gates = load_gates() if objectives is None else list(objectives)
    for named in [*profile.stricter, *(profile.gates or ())]:
        if named not in {gate.slo for gate in gates}:
            raise LoadProblem(f"{named!r} is no gate; there are {', '.join(gate.slo for gate in gates)}.")
    return [_stricter(gate, profile) for gate in gates]


def _stricter(gate: Gate, profile: Profile) -> Gate:
    wish = profile.stricter.get(gate.slo)
    if wish is None:
        return gate
    ratio = gate.objective_ratio if wish.objective_ratio is None else wish.objective_ratio
    limit, title = gate.threshold_seconds, gate.title
    if wish.threshold_seconds is not None:
        if limit is None:
            raise LoadProblem(f"{gate.slo} has no time that could be stricter.")
        limit, title = wish.threshold_seconds, f"{title.partition(' ')[0]} within {wish.threshold_seconds * 1000:g} ms"
    if ratio < gate.objective_ratio or (limit or 0.0) > (gate.threshold_seconds or 0.0):
        raise LoadProblem(f"{gate.slo} would be less strict than its objective.")
    return replace(gate, objective_ratio=ratio, threshold_seconds=limit, title=title)


def judge(gate: Gate, measured: Measurements) -> Judgement:
    """Hold the gate against all requests that it covers, each counted from its intended start."""
    return judge_sample(gate, (measured.kinds[kind].latency for kind in measured.kinds if gate.covers(ROUTES[kind])))


def judge_sample(gate: Gate, samples: Iterable[Milliseconds]) -> Judgement:
    """Hold the gate against these times; what was never served well is slower than everything."""
    sample = Milliseconds.sum(samples)
    answered = sample.count - sample.never
    good = answered if gate.threshold_seconds is None else sample.within(gate.threshold_seconds)
    proven = ratio_at_least(good, sample.count) if sample.count else None
    quantile = bound = is_met = None
    if gate.threshold_seconds is not None and sample.count:
        quantile = sample.quantile(gate.objective_ratio)
        bound = sample.quantile_at_most(gate.objective_ratio, CONFIDENCE)
        is_met = _is_bound_met(quantile, bound, gate.threshold_seconds)
    elif sample.count:
        # Of shares this close to one, a run of minutes proves less than a month does: the share itself is compared, and
        # what is proven stands beside it.
        is_met = good / sample.count >= gate.objective_ratio
    return Judgement(
        slo=gate.slo,
        title=gate.title,
        requests=sample.count,
        objective_ratio=gate.objective_ratio,
        good_ratio=good / sample.count if sample.count else None,
        proven_ratio=proven,
        threshold_seconds=gate.threshold_seconds,
        quantile_seconds=_finite(quantile),
        quantile_at_most_seconds=_finite(bound),
        is_met=is_met,
    )


def _is_bound_met(quantile: float, bound: float, threshold: float) -> bool | None:
    """Decide by the bound; with too few to have one, only that the sample itself is too slow says anything."""
    if bound <= threshold:
        return True
    if math.isinf(bound) and quantile <= threshold:
        return None
    return False


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) else None


def step_misses(gates: Sequence[Gate], measured: Measurements, seconds: range) -> list[Judgement]:
    """Give the gates that a part of the window misses, of those that speak of all reads, writes or requests."""
    there = [measured.seconds[at] for at in seconds if at in measured.seconds]
    told = []
    for gate in gates:
        if gate.route is not None:
            continue
        which = "all" if gate.methods is None else "reads" if "GET" in gate.methods else "writes"
        judgement = judge_sample(gate, [getattr(second, which) for second in there])
        if judgement.is_met is False:
            told.append(judgement)
    return told
