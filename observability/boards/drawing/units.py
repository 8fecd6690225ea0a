"""Numbers as people read them: 0.042 s is 42 ms, 0.9995 is 99.95 %."""

import math
from dataclasses import dataclass

from observability.boards.model import Unit

# From which value upwards, divided by what, called what; the last that fits is taken.
_SCALES: dict[Unit, tuple[tuple[float, float, str], ...]] = {
    Unit.SECONDS: (
        (0, 1e-6, "µs"),
        (1e-3, 1e-3, "ms"),
        (1, 1, "s"),
        (180, 60, "min"),
        (3 * 3600, 3600, "h"),
        (3 * 86400, 86400, "days"),
    ),
    Unit.BYTES: ((0, 1, "B"), (2**10, 2**10, "KiB"), (2**20, 2**20, "MiB"), (2**30, 2**30, "GiB")),
    Unit.RATIO: ((0, 0.01, "%"),),
    Unit.REQUESTS: ((0, 1, "req/s"), (10_000, 1000, "k req/s")),
    Unit.EVENTS: ((0, 1, "/s"), (10_000, 1000, "k/s")),
    Unit.PER_MINUTE: ((0, 1, "/min"), (10_000, 1000, "k/min")),
    Unit.COUNT: ((0, 1, ""), (10_000, 1000, "k"), (1e6, 1e6, "M")),
    Unit.NUMBER: ((0, 1, ""),),
}


@dataclass(frozen=True)
class Scale:
    """How the numbers of one axis are shown: divided by *divisor*, followed by *suffix*."""

    divisor: float
    suffix: str


def scale_for(unit: Unit, biggest: float) -> Scale:
    """Choose one scale for numbers up to *biggest*. Nothing at all is shown in the unit's own."""
    steps = _SCALES[unit]
    if unit is Unit.SECONDS and not biggest > 0:
        return Scale(1, "s")
    fitting = [Scale(divisor, suffix) for least, divisor, suffix in steps if abs(biggest) >= least]
    return fitting[-1]


def amount(unit: Unit, value: float, decimals: int | None = None) -> tuple[str, str]:
    """Write one number: the digits, and what it is measured in. Without *decimals*, three digits that count."""
    if math.isnan(value):
        return "–", ""
    scale = scale_for(unit, value)
    return digits(value / scale.divisor, decimals), scale.suffix


def written(unit: Unit, value: float, decimals: int | None = None) -> str:
    """Write one number and its unit in one word."""
    number, suffix = amount(unit, value, decimals)
    return f"{number} {suffix}".strip() if suffix not in {"/s", "/min"} else f"{number}{suffix}"


def digits(value: float, decimals: int | None = None) -> str:
    """Write a bare number; thousands are set apart by a thin space."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if decimals is None:
        size = abs(value)
        decimals = 0 if size == 0 or size >= 100 else 1 if size >= 10 else 2
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:,.{decimals}f}"
    return text.replace(",", "\u2009")
