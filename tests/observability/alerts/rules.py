"""The alerts that are written by hand, and the histories that they are tried on."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.programs import require_program

ROOT = Path(__file__).parents[3]
RULES = ROOT / "charts" / "telemed-observability" / "rules"
HISTORIES = ROOT / "observability" / "alerts" / "tests"
GENERATED = "slo-"  # such files come out of observability/slo/ together with tests of their own

Rule = dict[str, Any]  # as Prometheus takes it


@dataclass(frozen=True)
class Alert:
    """A rule with the file that holds it."""

    file: Path
    rule: Rule

    @property
    def name(self) -> str:
        return str(self.rule["alert"])

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the rule itself gives, with the alert's name, as Alertmanager gets them."""
        return {"alertname": self.name, **self.rule["labels"]}


def rule_files() -> list[Path]:
    """Return the files of rules that people write."""
    return [file for file in sorted(RULES.glob("*.yaml")) if not file.name.startswith(GENERATED)]


def alerts(files: list[Path] | None = None) -> list[Alert]:
    """Return every alert of the files, or of those that people write."""
    return [
        Alert(file, rule)
        for file in (rule_files() if files is None else files)
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def all_alerts() -> list[Alert]:
    """Return every alert, generated or not."""
    return alerts(sorted(RULES.glob("*.yaml")))


def histories() -> list[Path]:
    """Return the files of histories that people write."""
    return sorted(HISTORIES.glob("*.yaml"))


def tried_on(history: Path) -> list[Path]:
    """Return the files of rules that a history is for."""
    return [(history.parent / name).resolve() for name in yaml.safe_load(history.read_text())["rule_files"]]


def run_promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own tool; skips the test where it is not installed."""
    command = [require_program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def expectations(history: Path) -> Iterator[tuple[str, bool]]:
    """Give each alert that the history speaks of, and whether it says there that it fires or that it does not."""
    for case in yaml.safe_load(history.read_text())["tests"]:
        for silent in case.get("alert_rule_test", []):
            if not silent.get("exp_alerts"):
                yield silent["alertname"], False
        for query in case.get("promql_expr_test", []):
            for sample in query["exp_samples"] if "ALERTS" in query["expr"] else []:
                for name in _alertnames(sample["labels"]):
                    yield name, True


def _alertnames(labels: str) -> list[str]:
    return [
        part.partition('"')[2].rstrip('"') for part in labels.strip("{}").split(",") if part.startswith("alertname=")
    ]
