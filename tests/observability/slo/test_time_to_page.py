"""Somebody is called when they must be, by the truth of a history, and at no other time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.observability.slo.replay import Rules, availability_series, fired, page_rules, reads_series, replay
from tests.observability.slo.truth import KEPT, P95_GUARD, STEP, Events, Span, burning_seconds, happened, page_seconds

BUDGET = 0.0005
READS_BUDGET = 0.05
HOUR = 3600
DAY, NIGHT = 35.0, 35.0 / 50  # requests a second
PAGES = ("TelemedAvailabilityBurnsFast", "TelemedAvailabilityBurnsSteadily")
# Two scrapes, an evaluation, and what Prometheus extrapolates.
TOLERANCE = 60
# One request in a hundred at night is one failure in 140 seconds: one that is seen a scrape later is minutes.
AT_NIGHT = 600


@dataclass(frozen=True)
class Call:
    """When an alert fired, in seconds from the start; none: it never did."""

    first: float
    last: float


def calls(folder: Path, scenes: Mapping[str, list[Events]], rules: Rules | None = None) -> dict[str, Call]:
    """Replay several histories at once, each in a namespace of its own, and tell in which somebody was called."""
    seconds = max(len(events) for events in scenes.values()) * STEP
    series = [availability_series(events, name) for name, events in scenes.items()]
    questions = [fired(PAGES, name, seconds) for name in scenes]
    rules = rules or page_rules("availability", *PAGES)
    answers = replay(folder, rules, _merged(series), _merged(questions), at=seconds)
    return {
        name: Call(answers[f"{name} first"], answers[f"{name} last"]) for name in scenes if f"{name} first" in answers
    }


def test_an_outage_calls_in_time_by_day(tmp_path: Path) -> None:
    """And the call ends when the short window has passed."""
    assert wrong_times(tmp_path, DAY, TOLERANCE) == {}


def test_an_outage_calls_in_time_at_night(tmp_path: Path) -> None:
    """With a fiftieth of the traffic it takes no longer."""
    assert wrong_times(tmp_path, NIGHT, AT_NIGHT) == {}


def wrong_times(folder: Path, traffic: float, tolerance: int) -> dict[str, tuple[int, Call | None]]:
    """Tell of which outages the call came or went too early or too late, or not at all."""
    outages = ((1.0, 300), (1.0, 3600), (0.2, 1800), (0.05, 1800), (0.01, 5400))
    scenes = {
        f"{bad:.0%} for {lasts} s": happened([Span(7 * HOUR, traffic), Span(lasts, traffic, bad), Span(2400, traffic)])
        for bad, lasts in outages
    }
    called, wrong = calls(folder, scenes), {}
    for name, events in scenes.items():
        must, call = page_seconds(events, BUDGET), called.get(name)
        allowed = tolerance if "1%" in name else TOLERANCE
        if call is None or abs(call.first - must[0]) > allowed or abs(call.last - must[-1]) > 2 * allowed:
            wrong[name] = must[0], call
    return wrong


def test_nobody_is_called_without_reason(tmp_path: Path) -> None:
    """Neither by chance while the objective is just kept, nor by one failure, nor by a bad night after a good day."""
    scenes = {
        f"kept, {traffic} a second, {seed}": happened([Span(9 * HOUR, traffic, BUDGET)], seed=seed)
        for traffic in (DAY, NIGHT, 0.02)
        for seed in (1, 2)
    }
    quiet = [Events(1 if step % 8 == 0 else 0, 0) for step in range(2 * HOUR // STEP)]
    scenes["one failure of few"] = [*quiet[:40], Events(1, 1), *quiet]
    scenes["a bad night"] = happened([Span(7 * HOUR, DAY), Span(HOUR, NIGHT, 0.006), Span(1800, NIGHT)], seed=5)
    scenes["restarts"] = happened([Span(3 * HOUR, DAY)], restart_after=range(600, 3 * HOUR, 900))
    assert {name for name, events in scenes.items() if page_seconds(events, BUDGET)} == set()
    assert calls(tmp_path, scenes) == {}


def test_what_happens_to_a_platform_that_is_minutes_old_is_told_once(tmp_path: Path) -> None:
    """Its six hours hold little but the outage, and would call for it again when the pair of an hour is content."""
    moment = [Span(240, DAY), Span(60, DAY, 0.05), Span(2 * HOUR, DAY)]
    must = page_seconds(happened(moment), BUDGET)
    call = calls(tmp_path, {"young": happened(moment)})["young"]
    assert abs(call.first - must[0]) <= TOLERANCE
    assert abs(call.last - must[-1]) <= TOLERANCE
    assert call.last < 240 + 60 + 300 + KEPT + TOLERANCE


def test_restarts_and_beginnings_hide_nothing(tmp_path: Path) -> None:
    """Counters begin at zero, before an outage or in the middle of it."""
    well = 7 * HOUR
    scenes = {
        "fails from the start": happened([Span(600, DAY, 1.0)]),
        "restarts": happened(
            [Span(well, DAY), Span(600, DAY, 0.2)], restart_after=[HOUR, well - 300, well + 60, well + 300]
        ),
    }
    called = calls(tmp_path, scenes)
    late = {name: called[name].first - page_seconds(events, BUDGET)[0] for name, events in scenes.items()}
    assert {name for name, seconds in late.items() if abs(seconds) > TOLERANCE} == set()


def test_slow_reads_call_by_their_percentile(tmp_path: Path) -> None:
    """Where the textbook's factors would let users wait for 43 minutes."""
    alert, before = "TelemedReadsLatencyP95GuardFast", Span(2 * HOUR, DAY)
    scenes = {"all": happened([before, Span(1200, DAY, 1.0)]), "some": happened([before, Span(3600, DAY, 0.2)])}
    seconds = max(len(events) for events in scenes.values()) * STEP
    series = _merged([reads_series(events, name) for name, events in scenes.items()])
    questions = _merged([fired([alert], name, seconds) for name in scenes])
    answers = replay(tmp_path, page_rules("reads-latency", alert), series, questions, at=seconds)
    for name, events in scenes.items():
        must = burning_seconds(events, READS_BUDGET, P95_GUARD)[0]
        assert abs(answers[f"{name} first"] - must) <= TOLERANCE, name


def test_a_rule_that_averages_ratios_calls_without_reason(tmp_path: Path) -> None:
    """The customary way would be noticed: at night its six hours are far from the truth."""
    night_of_failures = [Span(5 * HOUR, NIGHT / 4, 0.02), Span(2 * HOUR, DAY), Span(HOUR, DAY, 0.004)]
    scenes = {"night": happened(night_of_failures)}
    naive = page_rules("availability", *PAGES)
    for group in naive["groups"]:
        for rule in group["rules"]:
            if rule.get("record") == "telemed:slo_error:ratio_rate6h":
                rule["expr"] = 'avg_over_time(telemed:slo_error:ratio_rate5m{slo="availability"}[6h])'
    must = page_seconds(scenes["night"], BUDGET)
    exact, averaged = calls(tmp_path, scenes)["night"], calls(tmp_path, scenes, naive)["night"]
    assert abs(exact.last - must[-1]) <= TOLERANCE * 2
    assert abs(averaged.last - must[-1]) > HOUR / 4


def _merged(parts: list[dict[str, str]] | list[Mapping[str, str]]) -> dict[str, str]:
    return {name: text for part in parts for name, text in part.items()}
