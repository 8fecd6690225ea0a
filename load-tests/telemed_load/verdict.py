"""Met, missed or invalid: what a run is worth, and why. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from telemed_load.bystanders import OTHERS_AT_MOST
from telemed_load.exposition import Comparison
from telemed_load.gates import Gate, Judgement, judge, step_misses
from telemed_load.measurements import Health, Measurements
from telemed_load.profile import Breakpoint, Generator, Profile, Stampede
from telemed_load.shapes import Schedule, step_rate

Word = Literal["met", "missed", "invalid"]
EXIT_CODES: dict[Word, int] = {"met": 0, "missed": 1, "invalid": 2}
UNEXPECTED_RATIO = 0.001  # of all answers may be such that no journey deserves
SHOWN = 5  # of many alike


@dataclass(frozen=True)
class Knee:
    """The highest step that held, the next one, and what that missed."""

    held_requests_per_second: float | None
    missed_at_requests_per_second: float | None
    missed: list[str]


@dataclass
class Verdict:
    """What is said of a run."""

    word: Word
    reasons: list[str]
    gates: list[Judgement]
    comparisons: list[Comparison]
    violations: list[str] = field(default_factory=list)
    knee: Knee | None = None

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return EXIT_CODES[self.word]


def decide(
    schedule: Schedule,
    gates: Sequence[Gate],
    measured: Measurements,
    comparisons: Sequence[Comparison],
    *,
    uncompared: str = "",
    violations: Sequence[str] = (),
    others: float | None = None,
) -> Verdict:
    """Decide.

    A broken promise counts whatever the generator's state: missed. Then a generator that measured itself, or whose
    figures the server contradicts, says nothing of the platform: invalid. Only then the gates. *uncompared* says why
    there is no server's word; a platform that died has missed, and needs none. *others* is the share of the machine's
    CPU that others used: what is met beside them is met, and what is missed beside them says nothing.
    """
    profile = schedule.profile
    chosen = [gate for gate in gates if profile.gates is None or gate.slo in profile.gates]
    judgements = [judge(gate, measured) for gate in chosen]
    broken = [*measured.violations, *violations, *_crowd_failures(profile, measured)]
    failed = [f"{one.title}: {_said(one)}" for one in judgements if one.is_met is False]
    unsound = [*_saturation(profile.generator, measured), *_wrong_load(profile, measured)]
    unsound += [f"{one.slo}: the server's histogram disagrees: {one.disagreement}" for one in comparisons
                if one.disagreement]  # fmt: skip
    knee = None
    if isinstance(profile.shape, Breakpoint):
        knee, failed, unsound = _knee(schedule, gates, measured, unsound)
    else:
        unsound += [f"{one.title}: only {one.requests} requests, too few to say anything" for one in judgements
                    if one.is_met is None and _is_wanted(one, profile)]  # fmt: skip
    if uncompared and not failed:
        unsound.append(f"nothing to compare with: {uncompared}")
    crowded = others is not None and others > OTHERS_AT_MOST
    if crowded and (failed or unsound or knee):
        unsound.append(f"others used {_percent(others)} of this machine's CPU time meanwhile")
    word: Word = "missed" if broken else "invalid" if unsound else "missed" if failed else "met"
    reasons = [*_first(broken), *unsound, *failed, *([f"not compared: {uncompared}"] if uncompared and failed else [])]
    reasons += [f"{one.slo}: {one.client_requests} requests, too few to compare their times with the server's histogram"
                for one in comparisons if one.times == "too few"]  # fmt: skip
    if crowded and word == "met":
        reasons.append(f"in spite of others, who used {_percent(others)} of this machine's CPU time")
    return Verdict(word, reasons, judgements, list(comparisons), broken, knee)


def _is_wanted(one: Judgement, profile: Profile) -> bool:
    """Tell whether a gate without enough requests matters: not where the load has none of that kind by intention."""
    return one.requests > 0 or (profile.journeys is None and not isinstance(profile.shape, Stampede))


def _said(one: Judgement) -> str:
    if one.threshold_seconds is None:
        return f"{_percent(one.good_ratio)} were good, {_percent(one.objective_ratio)} are promised"
    name = f"p{100 * one.objective_ratio:g}"
    bound = (
        "unbounded" if one.quantile_at_most_seconds is None else f"up to {1000 * one.quantile_at_most_seconds:.0f} ms"
    )
    return f"{name} is {bound}, {1000 * one.threshold_seconds:.0f} ms are promised"


def _percent(ratio: float | None) -> str:
    return "none" if ratio is None else f"{100 * ratio:.4g} %"


def _saturation(limits: Generator, measured: Measurements) -> list[str]:
    counts = measured.counts
    told = []
    if counts["dropped"]:
        told.append(f"{counts['dropped']} of {counts['arrivals']} arrivals were dropped: no hand was free in time")
    if counts["workers_heard"] != counts["workers_told"]:
        told.append(f"{counts['workers_told'] - counts['workers_heard']} workers did not report")
    if measured.ended.startswith("the generator broke"):
        told.append(measured.ended)
    if not any(measured.health):
        return [*told, "the generator did not watch itself"]
    for number, worker in enumerate(measured.health):
        told += _tired(number, worker, limits)
    return told


def _tired(number: int, worker: Sequence[Health], limits: Generator) -> list[str]:
    """Say in how many seconds a worker was busy with itself."""
    if not worker:
        return [f"worker {number} did not watch itself"]
    busy = [one for one in worker if one.cpu_ratio > limits.cpu_ratio_at_most]
    late = [one for one in worker if one.lag_seconds > limits.lag_seconds_at_most]
    allowed = limits.bad_seconds_ratio_at_most * len(worker)
    who = f"worker {number}" if number else "the generator"
    told = []
    if len(busy) > allowed:
        told.append(f"{who} was saturated: over {100 * limits.cpu_ratio_at_most:.0f} % of its core in {len(busy)} "
                    f"of {len(worker)} seconds")  # fmt: skip
    if len(late) > allowed:
        worst = max(one.lag_seconds for one in worker)
        told.append(f"{who} was late by more than {1000 * limits.lag_seconds_at_most:.0f} ms in {len(late)} of "
                    f"{len(worker)} seconds, {1000 * worst:.0f} ms at worst")  # fmt: skip
    return told


def _wrong_load(profile: Profile, measured: Measurements) -> list[str]:
    """Say where the load was another than the profile's."""
    counts, limits = measured.counts, profile.generator
    told = []
    intended = counts["planned_requests"] - counts["cut_short"]
    if not measured.requests:
        return ["nothing was sent"]
    if counts["sent_requests"] < limits.sent_ratio_at_least * intended and not counts["dropped"]:
        told.append(f"only {counts['sent_requests']} of {intended} intended requests were sent")
    unexpected = sum(measured.unexpected.values())
    if unexpected > UNEXPECTED_RATIO * measured.requests:
        worst = ", ".join(f"{times} times {said}" for said, times in measured.unexpected.most_common(SHOWN))
        told.append(f"answers that no journey deserves: {worst}")
    answers = measured.kinds["book"].statuses if "book" in measured.kinds else None
    tried = sum(times for said, times in answers.items() if said[:1] in "24") if answers else 0
    if tried and counts["booked"] < limits.booked_ratio_at_least * tried:
        told.append(f"only {counts['booked']} of {tried} attempts to book found a slot: the data are too few")
    return told


def _crowd_failures(profile: Profile, measured: Measurements) -> list[str]:
    """Judge a stampede: every slot has one winner, and nobody got a 5xx or no answer."""
    shape = profile.shape
    if not isinstance(shape, Stampede):
        return []
    told = [f"slot {slot} has {winners} winners" for slot, winners in measured.winners.items() if winners != 1]
    if len(measured.winners) != shape.slots:
        told.append(f"{shape.slots - len(measured.winners)} of {shape.slots} slots have no winner")
    return told


def _knee(
    schedule: Schedule, gates: Sequence[Gate], measured: Measurements, unsound: list[str]
) -> tuple[Knee, list[str], list[str]]:
    """Find the highest step that held. A generator that is at its end before the platform has found nothing."""
    shape = schedule.profile.shape
    assert isinstance(shape, Breakpoint)
    held: float | None = None
    missed_at: float | None = None
    missed: list[str] = []
    for step in range(shape.steps):
        seconds = range(int(step * shape.step_seconds), int((step + 1) * shape.step_seconds))
        part = [measured.seconds[at] for at in seconds if at in measured.seconds]
        if not part:
            break
        rate = schedule.scale * step_rate(shape, step)
        missed = [f"{one.title}: {_said(one)}" for one in step_misses(gates, measured, seconds)]
        if missed:
            missed_at = rate
            break
        held = rate
    knee = Knee(held, missed_at, missed)
    if missed_at is None:
        return knee, [], [*unsound, "no step missed a gate: the knee lies higher than this load goes"]
    return knee, [] if held is not None else ["the first step missed a gate already"], unsound


def _first(told: Sequence[str]) -> list[str]:
    return [*told[:SHOWN], *([f"… and {len(told) - SHOWN} more"] if len(told) > SHOWN else [])]
