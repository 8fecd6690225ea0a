"""What a benchmark found, as arithmetic, as a table and as JSON. Pure, but for the file that is written.

Every figure is a ratio of two that were measured in the same run, in turn; so a slow or a busy machine changes both.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Wanted = Literal["at least", "at most"]


class BenchProblem(Exception):
    """A benchmark could not be measured, or what it measured was not what it is about."""


class Absent(BenchProblem):
    """What a benchmark needs is not on this machine; the message says what, and how to get it."""


@dataclass(frozen=True)
class Result:
    """One figure against its floor.

    *floor* and *value* are medians of the samples, *unit* is theirs. *also* holds the same ratio measured in other
    ways; the worst of them is what counts. Without a *target* it is only told; without a value, *reason* says
    why.
    """

    name: str
    floor_is: str
    unit: str
    wanted: Wanted
    target: float | None
    floors: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    also: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None

    @property
    def floor(self) -> float | None:
        """Median of the floor's samples."""
        return statistics.median(self.floors) if self.floors else None

    @property
    def value(self) -> float | None:
        """Median of the samples."""
        return statistics.median(self.values) if self.values else None

    @property
    def ratio(self) -> float | None:
        """Value against floor; nothing can be told of a floor that is nothing."""
        if not self.floor or self.value is None:
            return None
        return self.value / self.floor

    @property
    def worst(self) -> float | None:
        """The ratio that decides, of all ways in which it was measured."""
        if self.ratio is None:
            return None
        return (min if self.wanted == "at least" else max)([self.ratio, *self.also.values()])

    @property
    def spread(self) -> tuple[float, float] | None:
        """Least and greatest ratio of samples that were taken one after the other."""
        ratios = [value / floor for floor, value in zip(self.floors, self.values, strict=False) if floor]
        return (min(ratios), max(ratios)) if ratios else None

    @property
    def met(self) -> bool | None:
        """Tell whether the target is met; None if that cannot be told."""
        if self.reason is not None or self.target is None or self.worst is None:
            return None
        return self.worst >= self.target if self.wanted == "at least" else self.worst <= self.target

    def written(self) -> dict[str, Any]:
        """Give the entry of the file."""
        return {
            "name": self.name,
            "floor": _short(self.floor),
            "value": _short(self.value),
            "ratio": _short(self.worst),
            "target": self.target,
            "met": self.met,
            "wanted": self.wanted,
            "floor_is": self.floor_is,
            "unit": self.unit,
            "ratios": {name: _short(ratio) for name, ratio in {"by the medians": self.ratio, **self.also}.items()},
            "spread": [_short(end) for end in self.spread] if self.spread else None,
            "samples": {"floor": [_short(one) for one in self.floors], "value": [_short(one) for one in self.values]},
            "reason": self.reason,
            "notes": self.notes,
        }


def not_measured(name: str, wanted: Wanted, target: float | None, *, because: str) -> Result:
    """Give the entry of a benchmark that did not come to a figure."""
    return Result(name, "", "", wanted, target, reason=because)


def table(results: Sequence[Result]) -> str:
    """Draw the results for a terminal."""
    head = ("benchmark", "floor", "value", "unit", "ratio", "spread", "target", "met")
    rows = [head, *(_row(result) for result in results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if place in {0, 3} else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    reasons = [f"{result.name}: {result.reason}" for result in results if result.reason]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:], *reasons])


def _row(result: Result) -> tuple[str, ...]:
    sign = ">=" if result.wanted == "at least" else "<="
    spread = f"{_shown(result.spread[0])}-{_shown(result.spread[1])}" if result.spread else ""
    return (
        result.name,
        _shown(result.floor),
        _shown(result.value),
        result.unit,
        _shown(result.worst),
        spread,
        f"{sign} {result.target:g}" if result.target is not None else "",
        {True: "yes", False: "NO", None: "-"}[result.met],
    )


def write(results: Sequence[Result], facts: dict[str, Any], target: Path) -> None:
    """Write the list; every entry carries the facts, so that it can be quoted alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    entries = [result.written() | facts for result in results]
    target.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def exit_code(results: Sequence[Result]) -> int:
    """0: everything was measured and met; 1: a target is missed; 2: something was not measured."""
    if any(result.reason is not None for result in results):
        return 2
    return 1 if any(result.met is False for result in results) else 0


def percentile(samples: Sequence[float], hundredth: float) -> float:
    """Give the smallest sample that this share of all does not exceed."""
    in_order = sorted(samples)
    if not in_order:
        raise BenchProblem("nothing was measured")
    return in_order[max(0, -(-len(in_order) * hundredth // 100).__trunc__() - 1)]


def _short(number: float | None) -> float | None:
    return float(f"{number:.4g}") if number is not None else None


def _shown(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
