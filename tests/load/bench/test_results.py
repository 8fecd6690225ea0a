"""The arithmetic of the table, and the form of the file that others read."""

import json
from pathlib import Path

import pytest

from bench.results import BenchProblem, Result, Wanted, exit_code, not_measured, percentile, table, write

FACTS = {
    "date": "2026-11-27T04:00+00:00",
    "commit": "abc1234",
    "machine": "2 cores",
    "load_average": 0.3,
    "command": "x",
}


def result(
    floors: tuple[float, ...] = (100.0, 120.0, 110.0),
    values: tuple[float, ...] = (44.0, 54.0, 66.0),
    *,
    wanted: Wanted = "at least",
    target: float | None = 0.45,
    also: dict[str, float] | None = None,
) -> Result:
    return Result("made up", "nothing", "requests/s", wanted, target, floors=floors, values=values, also=also or {})


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_pairs() -> None:
    """One odd round moves neither; and the spread shows that there was one."""
    made = result()

    assert (made.floor, made.value) == (110.0, 54.0)
    assert made.ratio == pytest.approx(54 / 110)
    assert made.spread == pytest.approx((44 / 100, 66 / 110))


@pytest.mark.parametrize(
    ("wanted", "target", "met"),
    [("at least", 0.49, True), ("at least", 0.5, False), ("at most", 0.5, True), ("at most", 0.49, False)],
)
def test_a_target_is_met_from_its_own_side(wanted: Wanted, target: float, met: bool) -> None:
    """The ratio here is 0.4909."""
    assert result(wanted=wanted, target=target).met is met


@pytest.mark.parametrize(
    ("wanted", "also", "worst", "met"),
    [("at least", 0.40, 0.40, False), ("at least", 0.60, 54 / 110, True), ("at most", 0.60, 0.60, False)],
)
def test_the_worst_of_several_ways_to_measure_decides(wanted: Wanted, also: float, worst: float, met: bool) -> None:
    """By throughput it may be met and by CPU time not: then it is not."""
    made = result(wanted=wanted, target=0.45 if wanted == "at least" else 0.5, also={"by CPU time": also})

    assert made.worst == pytest.approx(worst)
    assert made.met is met
    assert made.written()["ratio"] == pytest.approx(worst, rel=1e-3)


def test_what_was_not_measured_is_never_met() -> None:
    """A tool that is absent is told, with its reason, and is no pass."""
    absent = not_measured("pooler", "at least", 0.45, because="pgbouncer is not installed")

    assert absent.written()["met"] is None
    assert absent.written()["reason"] == "pgbouncer is not installed"
    assert "pooler: pgbouncer is not installed" in table([absent])


def test_a_reason_takes_the_verdict_away() -> None:
    """Half a measurement is none, however good it looks."""
    half = Result("made up", "", "", "at least", 0.1, floors=(1.0,), values=(1.0,), reason="the server went away")

    assert half.met is None


def test_a_floor_of_nothing_gives_no_ratio() -> None:
    """Division by zero is no success."""
    assert result(floors=(0.0,), values=(5.0,)).met is None


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result(target=0.4)], 0),
        ([result(target=0.4), result(target=0.9)], 1),
        ([result(target=0.9), not_measured("x", "at least", None, because="absent")], 2),
        ([result(target=None)], 0),
    ],
)
def test_the_exit_code_tells_met_missed_and_not_measured_apart(results: list[Result], code: int) -> None:
    """As that of the load tests does."""
    assert exit_code(results) == code


def test_the_table_has_a_line_for_each_with_the_ratio_that_counts() -> None:
    """People read this one."""
    lines = table([result(), result(target=0.9, also={"by CPU time": 0.2})]).splitlines()

    assert len(lines) == 4
    assert lines[2].split()[-5:] == ["0.491", "0.44-0.6", ">=", "0.45", "yes"]
    assert lines[3].endswith("NO")
    assert " 0.2 " in lines[3]


def test_the_file_is_a_list_whose_every_entry_can_be_quoted_alone(tmp_path: Path) -> None:
    """Name, floor, value, ratio, target, met; with unit, samples, date, commit, machine, load and command."""
    target = tmp_path / "deep" / "bench.json"

    write([result(), not_measured("other", "at most", 1.1, because="no wrk")], FACTS, target)

    first, second = json.loads(target.read_text())
    assert {"name", "floor", "value", "ratio", "target", "met", "unit", "samples", *FACTS} <= first.keys()
    assert first.keys() == second.keys()
    assert (first["floor"], first["value"], first["ratio"], first["target"], first["met"]) == (
        110,
        54,
        0.4909,
        0.45,
        True,
    )
    assert first["samples"] == {"floor": [100, 120, 110], "value": [44, 54, 66]}
    assert (second["floor"], second["ratio"], second["met"]) == (None, None, None)


@pytest.mark.parametrize(("hundredth", "expected"), [(50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0), (0.1, 1.0)])
def test_a_percentile_is_a_sample(hundredth: float, expected: float) -> None:
    """Nothing between samples is made up."""
    assert percentile([float(number) for number in range(100, 0, -1)], hundredth) == expected


def test_a_percentile_of_nothing_is_refused() -> None:
    """And not zero, which would pass."""
    with pytest.raises(BenchProblem):
        percentile([], 99)
