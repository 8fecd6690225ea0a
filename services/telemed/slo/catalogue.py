"""Reads the objectives of ``observability/slo``, for whoever makes something of them, so that there is no second list.

The form is Sloth's `prometheus/v1`; what Sloth has no place for is under `x-telemed`. A file that lacks something is
refused: an objective that does not say what it leaves out is not agreed upon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from telemed.kernel.settings import SettingsProblem
from telemed.slo.windows import P95_GUARDS, P95_OBJECTIVE, WINDOWS, Pair

WINDOW = "{{.window}}"
_SPEC = {"version", "service", "labels", "slos"}
_SLO = {"name", "objective", "description", "sli", "alerting", "x-telemed"}
_TOLD = {"title", "kind", "unit", "fault", "good", "bad", "excluded", "why"}


class Kind(StrEnum):
    """By what it is measured: answered requests, their duration, or looks at how old something is."""

    REQUESTS = "requests"
    LATENCY = "latency"
    FRESHNESS = "freshness"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What counts neither as good nor as bad, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. *objective* is in percent; *unit* and *fault* make a sentence: "0.3 % of the requests failed"."""

    name: str
    concern: str  # the file's name
    title: str
    objective: Decimal
    kind: Kind
    description: str
    error_query: str
    total_query: str
    alert: str
    runbook_url: str
    unit: str
    fault: str
    good: str
    bad: str
    excluded: tuple[Exclusion, ...]
    why: str
    threshold_seconds: Decimal | None = None
    methods: tuple[str, ...] = ()
    route: str | None = None
    subject: str | None = None
    part_of: str | None = None  # the objective that counts these events among others

    @property
    def budget(self) -> Decimal:
        """Give the ratio of events that may be bad: 0.0005 for 99.95 %."""
        return 1 - self.objective / 100

    @property
    def windows(self) -> tuple[str, ...]:
        """Name the windows for which the ratio is recorded."""
        return WINDOWS

    @property
    def guards(self) -> tuple[Pair, ...]:
        """Give the pairs that watch the percentile itself, where it is a 95th."""
        return P95_GUARDS if self.kind is Kind.LATENCY and self.objective == P95_OBJECTIVE else ()

    def ratio_series(self, window: str) -> str:
        """Name what holds the ratio of bad events in a window, from 0 to 1."""
        return self._series(f"telemed:slo_error:ratio_rate{window}")

    def bad_series(self, window: str) -> str:
        """Name what holds the bad events a second, in one of the windows up to an hour."""
        return self._series(f"telemed:slo_bad:rate{window}")

    def total_series(self, window: str) -> str:
        """Name what holds all events a second, in one of the windows up to an hour."""
        return self._series(f"telemed:slo_total:rate{window}")

    def bad_events_series(self, window: str) -> str:
        """Name what holds the number of bad events in a window longer than two hours and shorter than the period."""
        return self._series(f"telemed:slo_bad:increase{window}")

    @property
    def budget_left_series(self) -> str:
        """Name what is left of the budget of 30 days: 1 is all of it, below 0 it is overdrawn."""
        return self._series("telemed:slo_budget_left:ratio_30d")

    def _series(self, metric: str) -> str:
        return f'{metric}{{slo="{self.name}"}}'


def load_slos(folder: Path) -> list[Slo]:
    """Read every objective of the folder's files, in the order of files and in them.

    Raises:
        SettingsProblem: PyYAML is not installed, there are none, or one is incomplete.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise SettingsProblem(f"There are no objectives in {folder}; run this in the checkout.")
    slos = [slo for file in files for slo in _read(file)]
    names = [slo.name for slo in slos]
    if len(names) != len(set(names)):
        raise SettingsProblem(f"Two objectives in {folder} have the same name.")
    for slo in slos:
        if slo.part_of is not None and slo.part_of not in names:
            raise SettingsProblem(f"{slo.name} is part of {slo.part_of}, which is no objective in {folder}.")
    return slos


def _read(file: Path) -> list[Slo]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise SettingsProblem("`telemed slo` needs PyYAML, which `make install-dev` installs.") from None
    try:
        spec = yaml.safe_load(file.read_text(encoding="utf-8"))
        _same(spec.keys(), _SPEC, "the file")
        _matching("prometheus/v1", spec["version"])
        return [_slo(entry, file.stem) for entry in spec["slos"]]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as problem:
        raise SettingsProblem(f"{file} is not a specification of objectives: {problem}.") from problem


def _slo(entry: Mapping[str, Any], concern: str) -> Slo:
    name = str(entry["name"])
    _same(entry.keys(), _SLO, name)
    told = entry["x-telemed"]
    _same(told.keys() - {"threshold_seconds", "methods", "route", "subject", "part_of"}, _TOLD, f"x-telemed of {name}")
    if not told["excluded"]:
        raise ValueError(f"{name} does not say what it leaves out")
    queries = entry["sli"]["events"]
    threshold = told.get("threshold_seconds")
    return Slo(
        name=_matching(r"[a-z]+(-[a-z]+)*", name),
        concern=concern,
        title=told["title"],
        objective=_objective(entry["objective"]),
        kind=Kind(told["kind"]),
        description=entry["description"],
        error_query=_query(queries["error_query"]),
        total_query=_query(queries["total_query"]),
        alert=_matching(r"Telemed[A-Z]\w+", entry["alerting"]["name"]),
        runbook_url=_matching(r"https://\S+\.md", entry["alerting"]["annotations"]["runbook_url"]),
        unit=told["unit"],
        fault=told["fault"],
        good=told["good"],
        bad=told["bad"],
        excluded=tuple(Exclusion(**exclusion) for exclusion in told["excluded"]),
        why=told["why"],
        threshold_seconds=None if threshold is None else Decimal(str(threshold)),
        methods=tuple(told.get("methods", ())),
        route=told.get("route"),
        subject=told.get("subject"),
        part_of=told.get("part_of"),
    )


def _same(found: Any, wanted: set[str], whose: str) -> None:  # the keys of whatever YAML was
    if set(found) != wanted:
        raise ValueError(f"{whose} must have {', '.join(sorted(wanted))} and has {', '.join(sorted(found))}")


def _objective(number: object) -> Decimal:
    objective = Decimal(str(number))
    if not 0 < objective < 100:
        raise ValueError(f"an objective of {objective} % leaves no budget, or nothing else")
    return objective


def _query(text: str) -> str:
    if WINDOW not in text:
        raise ValueError(f"a query does not use {WINDOW}")
    return text.strip()


def _matching(pattern: str, text: str) -> str:
    if re.fullmatch(pattern, text) is None:
        raise ValueError(f"{text!r} is not of the form {pattern}")
    return text
