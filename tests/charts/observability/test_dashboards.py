"""Dashboards: Grafana can load them, and every panel asks for something that exists."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tests.charts.observability.queries import TARGET_LABELS, asked, labels_by_metric, unknown_in
from tests.charts.rendering import CHARTS, render_objects

FILES = sorted((CHARTS / "telemed-observability" / "dashboards").glob("*.json"))
# What Grafana puts in before it asks.
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$namespace": ".*", "$service": ".*"}
COLUMNS = 24


def each_file() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def panels(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["panels"])


def queries() -> list[tuple[str, str]]:
    """Return (panel, query) of all dashboards, as Prometheus gets them."""
    found = []
    for file, panel in itertools.chain.from_iterable(((file, panel) for panel in panels(file)) for file in FILES):
        for target in panel.get("targets", []):
            text = target["expr"]
            for variable, value in VARIABLES.items():
                text = text.replace(variable, value)
            found.append((f"{file.stem}: {panel['title']}", text))
    return found


@pytest.mark.parametrize(("panel", "query"), queries())
def test_a_panel_asks_for_what_there_is(panel: str, query: str) -> None:
    """A metric that was renamed would leave an empty panel that looks like silence."""
    assert "$" not in query
    assert unknown_in(query) == set()
    assert "namespace" in asked(query).labels, "or staging and production would be mixed"


@each_file()
def test_grafana_can_load_it(file: Path) -> None:
    """The fields that it needs, ids that differ, panels that neither overlap nor stick out."""
    board = json.loads(file.read_text())
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= board.keys()
    assert "id" not in board, "ids belong to one Grafana"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        across = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(across, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells


@each_file()
def test_every_panel_says_what_it_shows(file: Path) -> None:
    """With a unit, a sentence, and the data source that the reader chose."""
    for panel in panels(file):
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["legendFormat"] for target in panel["targets"])


def test_the_sidecar_finds_them() -> None:
    """By its label; the text is that of the file."""
    found = {
        name: text
        for item in render_objects("telemed-observability")
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in item["data"].items()
    }
    assert {name: json.loads(text) for name, text in found.items()} == {
        f"telemed-{file.stem}.json": json.loads(file.read_text()) for file in FILES
    }


def test_labels_of_targets_are_not_ours() -> None:
    """A label of ours with the name of one that Prometheus adds would be renamed on the way."""
    assert not TARGET_LABELS & frozenset(itertools.chain.from_iterable(labels_by_metric().values()))
