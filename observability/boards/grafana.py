"""A board in Grafana's JSON: the classic model in its last version, which every Grafana from 12 on loads from a file.

Source: schemaVersion 42 is the latest of grafana/grafana, apps/dashboard/pkg/migration/schemaversion (13.x).
"""

import json
from dataclasses import asdict
from string import ascii_uppercase
from typing import Any

from observability.boards.layout import Place, arrange
from observability.boards.model import Board, Kind, Panel, Row, Target, Threshold

# A piece of Grafana's JSON. Its shape is Grafana's, and wider than a type of ours would say.
Json = dict[str, Any]

SCHEMA_VERSION = 42
TAG = "telemed"
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
_ANYTHING = ".*"


def board_text(board: Board) -> str:
    """Write a board's file; the same board is always the same text."""
    return json.dumps(board_json(board), indent=2, ensure_ascii=False) + "\n"


def board_json(board: Board) -> Json:
    """Build the document that Grafana loads."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one line at the same instant across all panels
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "links": [_board_links()],
        "annotations": {"list": [_firing_alerts()]},
        "templating": {"list": [_source_variable(), *(_variable(name) for name in board.variables)]},
        "panels": [_placed(number, what, place) for number, (what, place) in enumerate(arrange(board), start=1)],
    }


def _board_links() -> Json:
    return {
        "type": "dashboards",
        "title": "Telemed",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _firing_alerts() -> Json:
    return {
        "name": "Pages",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", severity="page", namespace=~"$namespace"}',
        "titleFormat": "{{alertname}}",
        "step": "60s",
    }


def _source_variable() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }


def _variable(name: str) -> Json:
    """Offer a label's values. One namespace at a time, as two environments in one picture are told apart by nobody."""
    only = "" if name == "namespace" else '{namespace=~"$namespace"}'
    several: Json = {"multi": True, "includeAll": True, "allValue": _ANYTHING} if only else {"multi": False}
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values(telemed_http_requests_total{only}, {name})", "refId": name},
        "refresh": 2,  # with every change of the time that is shown
        "sort": 1,
        **several,
        "current": {"text": "All", "value": "$__all"} if only else {},
        "hide": 0,
    }


def _placed(number: int, what: Row | Panel, place: Place) -> Json:
    grid = asdict(place)
    if isinstance(what, Row):
        return {"id": number, "type": "row", "title": what.title, "collapsed": False, "gridPos": grid, "panels": []}
    return {
        "id": number,
        "type": what.kind.value,
        "title": what.title,
        "description": what.description,
        "datasource": SOURCE,
        "gridPos": grid,
        "links": [{"title": what.link.title, "url": what.link.url, "targetBlank": what.link.url.startswith("https:")}],
        "fieldConfig": {"defaults": _defaults(what), "overrides": _columns(what)},
        "options": _options(what),
        "targets": [
            _target(what, letter, target) for letter, target in zip(ascii_uppercase, what.targets, strict=False)
        ],
        **_joined(what),
    }


def _target(panel: Panel, letter: str, target: Target) -> Json:
    now_only = panel.kind in {Kind.NUMBER, Kind.TABLE}
    formats = {Kind.TABLE: "table", Kind.HEATMAP: "heatmap"}
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": target.query,
        "legendFormat": target.legend,
        "instant": now_only,
        "range": not now_only,
        "format": formats.get(panel.kind, "time_series"),
        "exemplar": target.exemplars,
    }


def _defaults(panel: Panel) -> Json:
    found: Json = {
        "unit": panel.unit.value,
        "min": panel.minimum,
        "noValue": "no data",
        "thresholds": _steps(panel, panel.thresholds),
    }
    if panel.maximum is not None:
        found["max"] = panel.maximum
    if panel.decimals is not None:
        found["decimals"] = panel.decimals
    if panel.kind is Kind.LINES:
        found["color"] = {"mode": "palette-classic"}
        found["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 40 if panel.stacked else 10,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
        }
    else:
        found["color"] = {"mode": "thresholds"}
    return found


def _steps(panel: Panel, thresholds: tuple[Threshold, ...]) -> Json:
    first: Json = {"value": None, "color": panel.base.value}
    return {"mode": "absolute", "steps": [first, *({"value": t.value, "color": t.colour.value} for t in thresholds)]}


def _columns(panel: Panel) -> list[Json]:
    """Name a table's columns and give each its unit; elsewhere nothing is overridden."""
    if panel.kind is not Kind.TABLE:
        return []
    found = []
    for letter, target in zip(ascii_uppercase, panel.targets, strict=False):
        properties: list[Json] = [
            {"id": "displayName", "value": target.legend},
            {"id": "unit", "value": (target.unit or panel.unit).value},
        ]
        if target.decimals is not None:
            properties.append({"id": "decimals", "value": target.decimals})
        if target.thresholds:
            properties.append({"id": "thresholds", "value": _steps(panel, target.thresholds)})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        # A single query's column has no letter.
        name = f"Value #{letter}" if len(panel.targets) > 1 else "Value"
        found.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    return found


def _options(panel: Panel) -> Json:
    if panel.kind is Kind.NUMBER:
        return {
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto" if len(panel.targets) == 1 else "value_and_name",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    if panel.kind is Kind.TABLE:
        order = {"displayName": panel.sort_by or panel.labels[0], "desc": bool(panel.sort_by)}
        return {"showHeader": True, "cellHeight": "sm", "sortBy": [order]}
    if panel.kind is Kind.HEATMAP:
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64},
            "yAxis": {"unit": panel.unit.value},
            "cellGap": 0,
            "tooltip": {"mode": "single"},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _joined(panel: Panel) -> Json:
    """Make one row of what a table's queries say about the same labels, and leave the instant out."""
    if panel.kind is not Kind.TABLE:
        return {}
    order = {label: number for number, label in enumerate(panel.labels)}
    hidden = {"Time": True, "namespace": True}
    return {
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": {}}},
        ]
    }
