"""Every alert on histories that were made up for it, by Prometheus' own tool: it fires when it should, only then."""

from pathlib import Path

import pytest
from tests.observability.alerts.rules import HISTORIES, alerts, expectations, histories, run_promtool

# It fires whatever happens, which is its purpose.
NEVER_SILENT = {"TelemedWatchdog"}


@pytest.mark.parametrize("history", histories(), ids=lambda history: history.stem)
def test_alerts_fire_when_they_should_and_only_then(history: Path) -> None:
    """At the threshold and beside it, after the time that is said and not before, and no longer than it lasts."""
    answer = run_promtool("test", "rules", history)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_was_seen_to_fire_and_to_be_silent() -> None:
    """An alert of which only the one is known may always fire, or never."""
    seen = {expectation for history in histories() for expectation in expectations(history)}
    wanted = {(alert.name, fires) for alert in alerts() for fires in (True, False)}
    assert wanted - seen - {(name, False) for name in NEVER_SILENT} == set()


def test_histories_speak_of_alerts_that_exist() -> None:
    """That an alert is silent which does not exist says nothing."""
    spoken_of = {name for history in histories() for name, _ in expectations(history)}
    assert spoken_of <= {alert.name for alert in alerts()}


def test_a_wrong_history_is_noticed(tmp_path: Path) -> None:
    """The tool compares: what it is told to expect of the history and does not find is an error."""
    text = (HISTORIES / "watchdog.yaml").read_text().replace("../../../charts", str(HISTORIES.parents[2] / "charts"))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace('severity="none"', 'severity="page"'))
    assert run_promtool("test", "rules", wrong).returncode != 0
