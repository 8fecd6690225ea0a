"""Who hears of alerts: the plain configuration and the chart's, brought into one form so that they can be compared."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.charts.rendering import CHARTS, render_objects

ROOT = Path(__file__).parents[3]
PLAIN = ROOT / "observability" / "alertmanager" / "alertmanager.yml"
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')

Matchers = frozenset[tuple[str, str, str]]  # name, operator, value
Document = dict[str, Any]  # of Alertmanager or of its operator


@dataclass(frozen=True)
class Route:
    """To whom alerts go that match, and at which pace."""

    receiver: str
    matchers: Matchers
    group_by: tuple[str, ...]
    group_wait: str
    group_interval: str
    repeat_interval: str
    routes: tuple["Route", ...]


@dataclass(frozen=True)
class Inhibition:
    """What is held back while something else fires."""

    source: Matchers
    target: Matchers
    equal: tuple[str, ...]


@dataclass(frozen=True)
class Routing:
    """All that is compared; how a receiver is reached is everybody's own matter."""

    route: Route
    inhibitions: tuple[Inhibition, ...]
    receivers: tuple[str, ...]


def plain_document() -> Document:
    """Return the configuration of an Alertmanager without an operator."""
    document: Document = yaml.safe_load(PLAIN.read_text())
    return document


def plain_routing() -> Routing:
    """Read the plain configuration."""
    document = plain_document()
    return Routing(
        _plain_route(document["route"]),
        tuple(
            Inhibition(_parsed(rule["source_matchers"]), _parsed(rule["target_matchers"]), tuple(rule["equal"]))
            for rule in document["inhibit_rules"]
        ),
        tuple(receiver["name"] for receiver in document["receivers"]),
    )


def chart_routing() -> Routing:
    """Read what the chart renders, with the values that it comes with."""
    values = CHARTS / "telemed-observability" / "examples" / "production.yaml"
    objects = render_objects("telemed-observability", values)
    (spec,) = (item["spec"] for item in objects if item["kind"] == "AlertmanagerConfig")
    return Routing(
        _chart_route(spec["route"]),
        tuple(
            Inhibition(_named(rule["sourceMatch"]), _named(rule["targetMatch"]), tuple(rule["equal"]))
            for rule in spec["inhibitRules"]
        ),
        tuple(receiver["name"] for receiver in spec["receivers"]),
    )


def _plain_route(route: Document) -> Route:
    return Route(
        route["receiver"],
        _parsed(route.get("matchers", [])),
        tuple(route["group_by"]),
        route["group_wait"],
        route["group_interval"],
        route["repeat_interval"],
        tuple(_plain_route(child) for child in route.get("routes", [])),
    )


def _chart_route(route: Document) -> Route:
    return Route(
        route["receiver"],
        _named(route.get("matchers", [])),
        tuple(route["groupBy"]),
        route["groupWait"],
        route["groupInterval"],
        route["repeatInterval"],
        tuple(_chart_route(child) for child in route.get("routes", [])),
    )


def _parsed(texts: list[str]) -> Matchers:
    found = [_MATCHER.fullmatch(text) for text in texts]
    assert all(found), texts
    return frozenset((match[1], match[2], match[3]) for match in found if match)


def _named(matchers: list[Document]) -> Matchers:
    return frozenset((matcher["name"], matcher["matchType"], matcher["value"]) for matcher in matchers)
