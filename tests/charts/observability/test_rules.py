"""Alerts: each can fire, says how urgent it is and what to do, and reaches somebody."""

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.observability.queries import unknown_in
from tests.charts.rendering import CHARTS, HelmFailed, render, render_objects
from tests.support.programs import find_program

ROOT = Path(__file__).parents[3]
CHART = CHARTS / "telemed-observability"
RUNBOOKS = ROOT / "observability" / "runbooks"
WHERE = "https://github.com/telemed/telemed/blob/main/observability/runbooks/"
FILES = sorted((CHART / "rules").glob("*.yaml"))
SEVERITIES = {"page", "ticket"}
# Nobody is told of the one that always fires, but the one who misses it.
WATCHDOG = "TelemedWatchdog"
BOARDS = {"telemed-slo", "telemed-red", "telemed-data", "telemed-booking", "telemed-load"}


def alerts() -> list[dict[str, Any]]:
    groups = itertools.chain.from_iterable(yaml.safe_load(file.read_text())["groups"] for file in FILES)
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def each_alert() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_prometheus_accepts_the_rules(file: Path) -> None:
    """By its own tool, where that is installed; their parts are looked at below in any case."""
    promtool = find_program("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (package prometheus)")
    answer = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 0, answer.stderr


@each_alert()
def test_an_alert_asks_for_what_there_is(alert: dict[str, Any]) -> None:
    """An alert on a metric that nobody shows never fires."""
    assert unknown_in(alert["expr"]) == set()


@each_alert()
def test_an_alert_says_what_it_is(alert: dict[str, Any]) -> None:
    """How urgent, what, and for how long; Prometheus' template language is closed."""
    assert set(alert) - {"for", "keep_firing_for"} == {"alert", "expr", "labels", "annotations"}
    assert re.fullmatch(r"Telemed[A-Z]\w+", alert["alert"])
    # A budget that burns has waited for its windows already.
    assert re.fullmatch(r"\d+[smh]", alert["for"] if "for" in alert or not alert["labels"].get("slo") else "0s")
    assert alert["labels"]["severity"] in (SEVERITIES if alert["alert"] != WATCHDOG else {"none"})
    assert alert["labels"]["area"]
    assert set(alert["annotations"]) == {"summary", "description", "dashboard_url", "runbook_url"}
    assert len(alert["annotations"]["summary"]) < 120, "it is read on a telephone"
    for text in alert["annotations"].values():
        assert text.count("{{") == text.count("}}")
    assert "{{" not in alert["annotations"]["summary"], "alerts of one kind are told together"


@each_alert()
def test_an_alert_names_a_dashboard(alert: dict[str, Any]) -> None:
    """One of ours, for the namespace of which the alert speaks."""
    board, _, of = alert["annotations"]["dashboard_url"].partition("?")
    assert board.removeprefix("/d/") in BOARDS
    assert of == ("" if alert["alert"] == WATCHDOG else "var-namespace={{ $labels.namespace }}")


@each_alert()
def test_an_alert_names_a_runbook_that_exists(alert: dict[str, Any]) -> None:
    """With the parts that a person at night looks for."""
    page = alert["annotations"]["runbook_url"].removeprefix(WHERE)
    text = (RUNBOOKS / page).read_text()
    for part in ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation"):
        assert part in text


def test_every_runbook_has_an_alert() -> None:
    """A page that nobody is sent to is not kept up to date."""
    assert {page.name for page in RUNBOOKS.glob("*.md")} == {
        alert["annotations"]["runbook_url"].removeprefix(WHERE) for alert in alerts()
    }


def test_names_are_given_once() -> None:
    """Routing and silences go by the name."""
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))


def test_the_rules_are_rendered_as_they_are() -> None:
    """What promtool checked is what is installed."""
    rendered = {
        item["metadata"]["name"].removeprefix("telemed-observability-"): item["spec"]
        for item in render_objects("telemed-observability")
        if item["kind"] == "PrometheusRule"
    }
    assert rendered == {file.stem: yaml.safe_load(file.read_text()) for file in FILES}


def test_every_severity_reaches_its_receiver() -> None:
    """Whoever adds a severity must say who hears of it."""
    objects = render_objects("telemed-observability", CHART / "examples" / "production.yaml")
    (config,) = (item["spec"] for item in objects if item["kind"] == "AlertmanagerConfig")
    routed = {
        matcher["value"]: route["receiver"] for route in config["route"]["routes"] for matcher in route["matchers"]
    }
    assert routed == {severity: severity for severity in SEVERITIES} | {WATCHDOG: "watchdog"}
    assert {receiver["name"] for receiver in config["receivers"]} == SEVERITIES | {"watchdog"}
    assert all(len(receiver) > 1 for receiver in config["receivers"]), "somebody is told"


def test_what_is_inhibited_exists() -> None:
    """A misspelt name would inhibit nothing."""
    names = {alert["alert"] for alert in alerts()}
    objects = render_objects("telemed-observability", CHART / "examples" / "production.yaml")
    (config,) = (item["spec"] for item in objects if item["kind"] == "AlertmanagerConfig")
    for rule in config["inhibitRules"]:
        for matcher in rule["sourceMatch"] + rule["targetMatch"]:
            if matcher["name"] == "alertname":
                matching = {name for name in names if re.fullmatch(matcher["value"], name)}
                assert len(matching) >= matcher["value"].count("|") + 1, matcher["value"]


def test_alerts_to_nobody_are_refused() -> None:
    """Enabled without receivers, they would be thrown away without a word."""
    with pytest.raises(HelmFailed, match=r"/alerting/receivers/page"):
        render("telemed-observability", {"alerting": {"enabled": True}})
