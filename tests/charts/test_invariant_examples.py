"""Every invariant is silent where all is well, and speaks where one thing is not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.changing import GONE, changed, find
from tests.charts.invariants.invariant import Invariant
from tests.charts.invariants.objects import Object, Rendering
from tests.charts.invariants.registry import INVARIANTS, THEMES, of_theme, violations

DECISION = Path(__file__).parents[2] / "docs" / "decisions" / "0021-proving-charts.md"
EXAMPLES = Path(__file__).parent / "invariants" / "examples"
GOOD: list[Object] = yaml.safe_load((EXAMPLES / "good.yaml").read_text())["objects"]
# By the invariant's name: rows of an object, a place in it, and what is there instead.
BAD: dict[str, list[tuple[str, str, Any]]] = yaml.safe_load((EXAMPLES / "bad.yaml").read_text())
BY_NAME = {invariant.name: invariant for invariant in INVARIANTS}
ROWS = [(BY_NAME[name], *row) for name, rows in BAD.items() for row in rows]


def test_nothing_is_wrong_with_the_good_ones() -> None:
    """The example is legal, as far as anybody here knows."""
    assert [str(violation) for violation in violations(Rendering(GOOD))] == []


def test_every_invariant_has_a_bad_example() -> None:
    """One that was never seen to speak may be deaf."""
    assert set(BAD) == {invariant.name for invariant in INVARIANTS}


@pytest.mark.parametrize(("invariant", "thing", "path", "value"), ROWS, ids=[f"{row[0].name}-{row[2]}" for row in ROWS])
def test_what_is_wrong_is_found(invariant: Invariant, thing: str, path: str, value: Any) -> None:
    """With one place changed, the invariant says so, and where."""
    bad = changed(GOOD, find(GOOD, thing), path, GONE if value == "gone" else value)
    found = invariant.violations(Rendering(bad))
    assert found
    assert all(violation.invariant == invariant.name and violation.thing for violation in found)
    assert not [violation for violation in found if violation.message.startswith("cannot be judged")]


def test_names_are_unique_and_have_a_reason() -> None:
    """Decision 0021 lists them, and whoever sees one fail looks for it by name."""
    assert len(BY_NAME) == len(INVARIANTS)
    for invariant in INVARIANTS:
        assert invariant.why.endswith("."), invariant.name
        assert len(invariant.why) <= 160, invariant.name


def test_the_decision_lists_them_all() -> None:
    """By theme, in their order."""
    text = DECISION.read_text().partition("<!-- invariants -->\n")[2].partition("<!-- end of invariants -->")[0]
    wanted = [
        f"- **{theme}**: {', '.join(f'`{one.name}`' for one in of_theme(module))}" for theme, module in THEMES.items()
    ]
    assert text.splitlines() == wanted


@pytest.mark.parametrize(("objects", "code"), [(GOOD, 0), (GOOD[1:2] + GOOD[:1] * 2, 1)], ids=["good", "bad"])
def test_the_command_prints_and_says_no(objects: list[Object], code: int) -> None:
    """`python -m tests.charts.invariants < rendered.yaml` is for pipelines and people."""
    command = [sys.executable, "-m", "tests.charts.invariants"]
    rendered = yaml.safe_dump_all(objects)
    answer = subprocess.run(
        command, input=rendered, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert (answer.returncode, answer.stderr) == (code, "")
    assert ("names-are-unique: Namespace telemed: " in answer.stdout) == bool(code)
