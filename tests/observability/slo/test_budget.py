"""What the rules say is left of 30 days' budget is what is left, by the events."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.observability.slo.replay import availability_series, replay, rules_of
from tests.observability.slo.truth import Events, Span, budget_left, happened

BUDGET = 0.0005
DAYS = 30
HOURS = 24 * DAYS
MINUTE, HOUR = 60, 3600
RECORD = 600  # seconds: the windows of the record lie side by side
# By hour from the start: an outage in the dead of night, a bad hour at noon, and a long time a little bad.
FAULTS = {25: 1.0, 180: 0.002, 300: 0.0005, 301: 0.0005, 302: 0.0005, 500: 0.01}


def month() -> list[Events]:
    """Thirty days with fifty times as much at noon as at night, a fault now and then, and a release every five days."""
    releases = range(5 * 24 * HOUR + 15 * HOUR, HOURS * HOUR, 5 * 24 * HOUR)
    return happened(list(_hours()), step=MINUTE, restart_after=[*releases, 25 * HOUR + 1800])


def _hours() -> Iterator[Span]:
    for hour in range(HOURS):
        by_day = (1 - math.cos(2 * math.pi * (hour % 24) / 24)) / 2  # 0 at midnight, 1 at noon
        yield Span(HOUR, 0.7 + 34.3 * by_day, FAULTS.get(hour, 0.0001))


def left_of(folder: Path, events: list[Events], budget_rules: list[dict[str, Any]]) -> float:
    """Record every ten minutes for thirty days, and ask the rules for the budget at the end."""
    ratio, left = (rule["expr"] for rule in budget_rules)
    question = left.replace('telemed:slo_error:ratio_rate30d{slo="availability"}', f"({ratio})")
    records = rules_of(
        "availability", *(f"telemed:slo_{what}:rate10m" for what in ("total", "bad")), "telemed:slo_error:ratio_rate10m"
    )
    return replay(
        folder,
        records,
        availability_series(events),
        {"left": question},
        at=len(events) * MINUTE,
        step=MINUTE,
        every=RECORD,
    )["left"]


def budget_rules() -> list[dict[str, Any]]:
    """Give the rules for the ratio of 30 days and for what is left."""
    rules = rules_of("availability", "telemed:slo_error:ratio_rate30d", "telemed:slo_budget_left:ratio_30d")
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_what_is_left_is_left(tmp_path: Path) -> None:
    """Within one hundredth of the budget, although nights are quiet and counters start anew."""
    events = month()
    truth = budget_left(events, BUDGET)
    assert -1 < truth < 0.9, "a month in which something happened"
    assert left_of(tmp_path, events, budget_rules()) == pytest.approx(truth, abs=0.01)


def test_averaged_ratios_would_be_noticed(tmp_path: Path) -> None:
    """The customary way, an average of ratios, weighs an hour of the night like one of noon: the test above sees it."""
    events = month()
    averaged, left = budget_rules()
    averaged["expr"] = 'avg_over_time(telemed:slo_error:ratio_rate10m{slo="availability"}[30d:10m])'
    wrong = left_of(tmp_path, events, [averaged, left])
    assert abs(wrong - budget_left(events, BUDGET)) > 1
