"""Routes: every alert reaches whom it should, by the plain configuration and by the chart's."""

import re
import subprocess

import pytest
import yaml
from tests.observability.alertmanager.configurations import PLAIN, Inhibition, chart_routing, plain_routing
from tests.observability.alerts.rules import Alert, all_alerts, rule_files
from tests.support.programs import require_program

RECEIVERS = {"page": "page", "ticket": "ticket", "none": "watchdog"}


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [require_program("amtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_chart_says_the_same() -> None:
    """Whoever tries a route on their own machine tries that of production."""
    assert chart_routing() == plain_routing()


def test_alertmanager_accepts_the_configuration() -> None:
    """By its own tool."""
    answer = amtool("check-config", str(PLAIN))
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("alert", all_alerts(), ids=lambda alert: alert.name)
def test_an_alert_reaches_its_receiver(alert: Alert) -> None:
    """A page somebody who is called, a ticket somebody who reads, the watchdog whoever misses it, and nobody else."""
    labels = [f"{name}={value}" for name, value in {**alert.labels, "namespace": "telemed"}.items()]
    receiver = RECEIVERS[alert.rule["labels"]["severity"]]
    answer = amtool("config", "routes", "test", f"--config.file={PLAIN}", f"--verify.receivers={receiver}", *labels)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("labels", [["alertname=SomebodyElses"], ["alertname=TelemedNew", "severity=critical"]])
def test_what_has_no_severity_of_ours_wakes_nobody(labels: list[str]) -> None:
    """But it is read."""
    answer = amtool("config", "routes", "test", f"--config.file={PLAIN}", "--verify.receivers=ticket", *labels)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_watchdog_comes_often_and_alone() -> None:
    """Its receiver waits for three of them; an interval in which others are told would delay it."""
    (watchdog,) = (route for route in plain_routing().route.routes if route.receiver == "watchdog")
    assert watchdog.group_by == ("alertname",)
    assert (watchdog.group_wait, watchdog.group_interval, watchdog.repeat_interval) == ("1s", "1m", "1m")


def test_what_burns_waits_for_what_makes_it_burn() -> None:
    """The cause is known after its `for` and a look of Prometheus, 15 s later at most; else one fault calls twice."""
    (of_objectives,) = (one for route in plain_routing().route.routes for one in route.routes)
    assert of_objectives.matchers == {("slo", "=~", ".+"), ("alertname", "!~", ".+BurnsSteadily")}
    pages = {("slo", "=~", ".+"), ("alertname", "!~", ".+Absent")}
    sources = [rule.source for rule in plain_routing().inhibitions if rule.target <= pages]
    patterns = [value for source in sources for name, _, value in source if name == "alertname"]
    causes = [alert for alert in all_alerts() if any(re.fullmatch(pattern, alert.name) for pattern in patterns)]
    assert {cause.name for cause in causes} == {"TelemedPrimaryLost", "TelemedEventLoopsBlocked"}
    kept = [alert.rule.get("keep_firing_for", "0s") for alert in all_alerts() if "slo" in alert.labels]
    longest_kept = max(_seconds(duration) for duration in kept)
    for cause in causes:
        assert _seconds(of_objectives.group_wait) >= _seconds(cause.rule["for"]) + 15
        # And it is said until the windows of five minutes have forgotten what it explains, and that is said no more.
        assert _seconds(cause.rule["keep_firing_for"]) > _seconds("5m") + longest_kept


def test_what_ended_while_it_was_held_back_is_news_again_soon() -> None:
    """Alertmanager takes it for told until it would be said again, and the next outage of its kind for nothing new."""
    (pages,) = (route for route in plain_routing().route.routes if route.receiver == "page")
    assert [_seconds(route.repeat_interval) for route in (pages, *pages.routes)] == [600, 600]


def test_what_explains_is_looked_for_as_often_as_what_burns() -> None:
    """Prometheus looks every minute if nothing is said: the cause would come after what it holds back."""
    explaining = {"TelemedPrimaryLost", "TelemedEventLoopsBlocked"}
    groups = [group for file in rule_files() for group in yaml.safe_load(file.read_text())["groups"]]
    intervals = {
        rule["alert"]: group.get("interval")
        for group in groups
        for rule in group["rules"]
        if rule.get("alert") in explaining
    }
    assert intervals == dict.fromkeys(explaining, "15s")


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


@pytest.mark.parametrize("rule", plain_routing().inhibitions, ids=lambda rule: str(sorted(rule.target)))
def test_an_inhibition_speaks_of_alerts_that_exist(rule: Inhibition) -> None:
    """A misspelt name would hold nothing back."""
    for name, operator, value in rule.source | rule.target:
        values = {str(alert.labels.get(name, "")) for alert in all_alerts()}
        for wanted in _alternatives(value) if operator in ("=~", "!~") else [re.escape(value)]:
            assert any(re.fullmatch(wanted, one) for one in values if one), wanted


def _alternatives(pattern: str) -> list[str]:
    """Return what stands between the bars of a pattern's bracket, or of the whole."""
    before, bracket, rest = pattern.partition("(")
    inner, _, after = rest.partition(")")
    return [f"{before}{one}{after}" for one in inner.split("|")] if bracket else pattern.split("|")
