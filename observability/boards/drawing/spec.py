"""What a picture needs of a board, read from the JSON that Grafana gets: so that what is drawn is what is shipped."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from observability.boards.layout import Place
from observability.boards.model import Unit

Json = dict[str, Any]  # a piece of Grafana's JSON


@dataclass(frozen=True)
class Step:
    """A colour from a value upwards."""

    value: float
    colour: str


@dataclass(frozen=True)
class Asked:
    """A query of a panel, and how its numbers are read."""

    query: str
    legend: str
    unit: Unit
    decimals: int | None
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Shown:
    """A panel or a heading, as it is in the file."""

    kind: str
    title: str
    place: Place
    unit: Unit = Unit.NUMBER
    asked: tuple[Asked, ...] = ()
    steps: tuple[Step, ...] = ()
    minimum: float = 0
    maximum: float | None = None
    stacked: bool = False
    labels: tuple[str, ...] = ()
    sort_by: str = ""  # a column, or a label

    @property
    def limits(self) -> tuple[Step, ...]:
        """The thresholds that have a value; the first step is the colour below them."""
        return self.steps[1:]


@dataclass(frozen=True)
class Page:
    """A board, as it is in the file."""

    title: str
    description: str
    variables: tuple[str, ...]
    pages_query: str
    shown: tuple[Shown, ...]


def read_page(path: Path) -> Page:
    """Read a board's file."""
    board = json.loads(path.read_text())
    return Page(
        board["title"],
        board["description"],
        tuple(item["name"] for item in board["templating"]["list"] if item["type"] == "query"),
        board["annotations"]["list"][0]["expr"],
        tuple(_shown(panel) for panel in board["panels"]),
    )


def colour_at(steps: tuple[Step, ...], value: float) -> str | None:
    """Give the name of the colour that a value has; None without thresholds."""
    if len(steps) < 2:
        return None
    return [step.colour for step in steps if not value < step.value][-1]


def _shown(panel: Json) -> Shown:
    place = Place(**panel["gridPos"])
    if panel["type"] == "row":
        return Shown("row", panel["title"], place)
    defaults, custom = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["defaults"].get("custom", {})
    columns = {rule["matcher"]["options"]: rule["properties"] for rule in panel["fieldConfig"]["overrides"]}
    sorting = panel["options"].get("sortBy") or [{"displayName": ""}]
    maximum: float | None = defaults.get("max")
    return Shown(
        panel["type"],
        panel["title"],
        place,
        Unit(defaults["unit"]),
        tuple(_asked(target, defaults, _column(columns, target["refId"])) for target in panel["targets"]),
        _steps(defaults["thresholds"]),
        defaults["min"],
        maximum,
        custom.get("stacking", {}).get("mode") == "normal",
        _labels(panel),
        sorting[0]["displayName"],
    )


def _column(columns: dict[str, list[Json]], letter: str) -> Json:
    """Gather what is said about one column alone."""
    rules = columns.get(f"Value #{letter}", columns.get("Value", []))
    return {rule["id"]: rule["value"] for rule in rules}


def _asked(target: Json, defaults: Json, own: Json) -> Asked:
    unit = str(own.get("unit", defaults["unit"]))
    return Asked(
        target["expr"],
        target["legendFormat"],
        Unit(unit),
        own.get("decimals", defaults.get("decimals")),
        _steps(own["thresholds"]) if "thresholds" in own else (),
    )


def _steps(thresholds: Json) -> tuple[Step, ...]:
    return tuple(
        Step(float("-inf") if step["value"] is None else step["value"], step["color"]) for step in thresholds["steps"]
    )


def _labels(panel: Json) -> tuple[str, ...]:
    """Give a table's first columns, in their order."""
    for change in panel.get("transformations", []):
        if change["id"] == "organize":
            order: dict[str, int] = change["options"]["indexByName"]
            return tuple(sorted(order, key=lambda name: order[name]))
    return ()
