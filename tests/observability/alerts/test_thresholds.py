"""The histories notice every threshold: each is moved once, up and down, and so is the time an alert waits."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.observability.alerts.rules import Alert, alerts, histories, run_promtool, tried_on

# A number that something is compared with, at the end of a comparison; `-1` and labels are none.
_THRESHOLD = re.compile(r"([<>]=?|==)\s*([0-9.]+)(\s*\*\s*86400)?")
# Counts that are compared with 0 or 1 have no place in between.
_NEIGHBOURS = {0.0: [5.0], 1.0: [0.0, 2.0]}


@dataclass(frozen=True)
class Change:
    """One alert, changed in one place."""

    alert: Alert
    what: str
    expression: str
    waits: str


def changes() -> Iterator[Change]:
    """Give every threshold moved by three tenths each way, and every `for` doubled or halved."""
    for alert in alerts():
        expression, waits = alert.rule["expr"], alert.rule["for"]
        for found in _THRESHOLD.finditer(expression):
            for number in _moved(float(found[2])):
                text = f"{found[1]} {number:g}{found[3] or ''}"
                changed = expression[: found.start()] + text + expression[found.end() :]
                yield Change(alert, f"{found[0]} becomes {text}", changed, waits)
        amount, unit = int(waits[:-1]), waits[-1]
        if amount:
            for seconds in (amount * 2, 0):
                yield Change(alert, f"for {waits} becomes {seconds}{unit}", expression, f"{seconds}{unit}")


def _moved(number: float) -> list[float]:
    return _NEIGHBOURS.get(number, [number * 1.3, number * 0.7])


@pytest.mark.parametrize("change", list(changes()), ids=lambda change: f"{change.alert.name}: {change.what}")
def test_a_changed_alert_is_noticed(change: Change, tmp_path: Path) -> None:
    """A threshold that could be moved without a red test is one that nobody has decided."""
    changed = _written(change, tmp_path)
    codes = []
    for history in histories():
        if change.alert.file in tried_on(history):
            there = tmp_path / f"history-{history.name}"
            there.write_text(_of_the_alert(history, change.alert, changed))
            codes.append(run_promtool("test", "rules", there).returncode)
    assert any(codes), change.what


def _written(change: Change, folder: Path) -> Path:
    document = yaml.safe_load(change.alert.file.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == change.alert.name:
                rule |= {"expr": change.expression, "for": change.waits}
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def _of_the_alert(history: Path, alert: Alert, rules: Path) -> str:
    """Return what the history says of the alert, as a history of these rules."""
    document = yaml.safe_load(history.read_text())
    cases = [case for case in document["tests"] if alert.name in json.dumps(case)]
    return yaml.safe_dump({**document, "rule_files": [str(rules)], "tests": cases})
