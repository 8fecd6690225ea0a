"""Numbers as people read them."""

import math

import pytest
from observability.boards.drawing.units import digits, scale_for, written
from observability.boards.model import Unit


@pytest.mark.parametrize(
    ("unit", "value", "decimals", "text"),
    [
        (Unit.SECONDS, 0.0423, None, "42.3 ms"),
        (Unit.SECONDS, 0.00042, None, "420 µs"),
        (Unit.SECONDS, 2.5, None, "2.5 s"),
        (Unit.SECONDS, 5400, 0, "90 min"),
        (Unit.SECONDS, 61 * 86400, None, "61 days"),
        (Unit.SECONDS, 0, None, "0 s"),
        (Unit.RATIO, 0.99951, 3, "99.951 %"),
        (Unit.RATIO, -0.06, 1, "-6.0 %"),
        (Unit.BYTES, 160 * 2**20, None, "160 MiB"),
        (Unit.REQUESTS, 18.94, None, "18.9 req/s"),
        (Unit.EVENTS, 0.5, None, "0.5/s"),
        (Unit.PER_MINUTE, 43.21, None, "43.2/min"),
        (Unit.COUNT, 120_300, None, "120 k"),
        (Unit.NUMBER, 11_339, 0, "11\u2009339"),
        (Unit.NUMBER, math.nan, None, "–"),
        (Unit.NUMBER, math.inf, None, "∞"),
    ],
)
def test_a_number_is_written_with_what_it_is_measured_in(
    unit: Unit, value: float, decimals: int | None, text: str
) -> None:
    """In the unit in which it is easiest to read."""
    assert written(unit, value, decimals) == text


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_has_a_scale(unit: Unit) -> None:
    """From nothing to more than there will ever be."""
    for value in (0, 1e-9, 1, 1e12):
        assert scale_for(unit, value).divisor > 0


def test_an_axis_has_as_many_decimals_as_its_steps_need() -> None:
    """No more: 0.25 and 0.50, but 10 and 20."""
    assert digits(0.5, 2) == "0.50"
    assert digits(10.0, 0) == "10"
