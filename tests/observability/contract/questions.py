"""Every question that somebody of ours asks Prometheus: rules, boards and runbooks, each with where it stands."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from tests.observability.contract.exposition import Series

ROOT = Path(__file__).parents[3]
RULES = ROOT / "charts" / "telemed-observability" / "rules"
BOARDS = ROOT / "charts" / "telemed-observability" / "dashboards"
RUNBOOKS = ROOT / "observability" / "runbooks"
# Also inside of a list, where it is indented.
_BLOCK = re.compile(r"^ *```promql\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CONDITIONS = {">", ">=", "<", "<=", "==", "!=", "unless", "and"}
# What Grafana puts in before it asks; the test's run is short.
_VARIABLES = {"$__rate_interval": "1m", "$__range": "5m", "$namespace": "local", "$service": ".*"}


@dataclass(frozen=True)
class Question:
    """A query, as Prometheus gets it, and who asks it. An alert is silent when all is well: its answer says nothing."""

    where: str
    query: str
    is_alert: bool = False


def rules() -> list[dict[str, Any]]:
    """Give every rule of the charts."""
    return [
        rule
        for file in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def questions() -> list[Question]:
    """Give every question."""
    return [*_of_rules(), *_of_boards(), *_of_runbooks()]


def unconditional(query: str) -> str:
    """Give the query without the condition that keeps it silent: `x` of `x > 0`, `x unless y` and `x and y`."""
    expression = promql_parser.parse(query)
    while isinstance(expression, promql_parser.BinaryExpr) and str(expression.op) in _CONDITIONS:
        expression = expression.lhs
    return expression.prettify()


def derived_series() -> list[Series]:
    """Give what Prometheus itself makes of the rules: records, and the state of each alert."""
    found = []
    for rule in rules():
        labels = {"namespace": "local", **{name: str(value) for name, value in rule.get("labels", {}).items()}}
        if "record" in rule:
            found.append(Series(rule["record"], labels))
        else:
            found += [
                Series("ALERTS", {**labels, "alertname": rule["alert"], "alertstate": state})
                for state in ("pending", "firing")
            ]
    return found


def _of_rules() -> Iterator[Question]:
    for rule in rules():
        if "alert" in rule:
            yield Question(f"alert {rule['alert']}", rule["expr"], is_alert=True)
            continue
        # What it is made of, and that something is made: the windows of days lie beyond a run of a test.
        labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
        record = f"{rule['record']}{{{labels}}}"
        yield Question(f"source of {record}", rule["expr"], is_alert=True)
        yield Question(f"record {record}", record)


def _of_boards() -> Iterator[Question]:
    for file in sorted(BOARDS.glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield Question(f"board {file.stem}: {panel['title']} {target['refId']}", _filled(target["expr"]))
        for note in board.get("annotations", {}).get("list", []):
            if "expr" in note:
                yield Question(f"board {file.stem}: note {note['name']}", _filled(note["expr"]), is_alert=True)


def _of_runbooks() -> Iterator[Question]:
    for file in sorted(RUNBOOKS.glob("*.md")):
        for block in _BLOCK.findall(file.read_text()):
            lines = [line for line in block.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            while lines:
                length = _length_of_first(lines)
                query = "\n".join(lines[:length])
                yield Question(f"runbook {file.stem}: {query.strip()[:60]}", _filled(query))
                lines = lines[length:]


def _length_of_first(lines: list[str]) -> int:
    """Say how many lines the first query of a block has: as many as make one. All, if nothing makes one."""
    for length in range(len(lines), 0, -1):
        try:
            promql_parser.parse("\n".join(lines[:length]))
        except ValueError:
            continue
        return length
    return len(lines)


def _filled(query: str) -> str:
    for variable, value in _VARIABLES.items():
        query = query.replace(variable, value)
    return query.strip()
