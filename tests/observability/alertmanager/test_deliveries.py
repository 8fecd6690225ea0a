"""What arrives, from a real Alertmanager: once, to the right receiver, and the dead man's switch again and again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.observability.alertmanager.server import Alertmanager, Labels, running_alertmanager
from tests.observability.alerts.rules import all_alerts
from tests.support.waiting import until

ALERTS = {alert.name: {**alert.labels, "namespace": "telemed"} for alert in all_alerts()}
STAGING = {"namespace": "staging"}
WATCHDOG: Labels = {name: value for name, value in ALERTS["TelemedWatchdog"].items() if name != "namespace"}


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    async with running_alertmanager(tmp_path) as running:
        yield running


async def test_a_page_arrives_and_is_called_off(alertmanager: Alertmanager) -> None:
    """Where somebody is called, and nowhere else; its end is told as well."""
    page = ALERTS["TelemedDoubleBooked"]
    await alertmanager.fire(page)
    await until(lambda: alertmanager.told.names("page") == ["TelemedDoubleBooked"])

    await alertmanager.fire(page, until_seconds=0)

    await until(lambda: alertmanager.told.names("page", "resolved") == ["TelemedDoubleBooked"])
    assert alertmanager.told.names("ticket") == []


async def test_a_ticket_arrives_where_nobody_is_called(alertmanager: Alertmanager) -> None:
    """And says the same as the page would, if there were one."""
    await alertmanager.fire(ALERTS["TelemedCacheLeftAlone"])
    await until(lambda: alertmanager.told.names("ticket") == ["TelemedCacheLeftAlone"])
    assert alertmanager.told.names("page") == []


async def test_a_lost_primary_calls_once(alertmanager: Alertmanager) -> None:
    """Pools, jobs and budgets fail with it, and nobody is called for each; another namespace's page still arrives."""
    await alertmanager.fire(ALERTS["TelemedPrimaryLost"])
    await until(lambda: alertmanager.told.names("page") == ["TelemedPrimaryLost"])
    consequences = ("TelemedPoolExhausted", "TelemedWritesReadOnly", "TelemedAvailabilityBurnsFast")
    await alertmanager.fire(*(ALERTS[name] for name in consequences))

    # Told after the others would have been: its group waits as long as theirs, and began later.
    await alertmanager.fire({**ALERTS["TelemedPoolExhausted"], "namespace": "staging"})
    await until(lambda: "TelemedPoolExhausted" in alertmanager.told.names("page"))

    namespaces = [
        alert["labels"]["namespace"]
        for receiver, notification in alertmanager.told.notifications
        for alert in notification["alerts"]
        if receiver == "page" and alert["labels"]["alertname"] in consequences
    ]
    assert set(namespaces) == {"staging"}


async def test_what_burns_several_budgets_calls_once(alertmanager: Alertmanager) -> None:
    """For the budget of all requests, which speaks for the others; what burns elsewhere is another call."""
    burning = [name for name in ALERTS if name.endswith(("BurnsFast", "P95GuardFast"))]
    whole = "TelemedAvailabilityBurnsFast"
    await alertmanager.fire(*(ALERTS[name] for name in burning), {**ALERTS["TelemedTailLatencyBurnsFast"], **STAGING})
    await until(lambda: len(set(calls(alertmanager))) == 2)

    here, there = sorted(dict.fromkeys(calls(alertmanager)))
    assert ("staging" in here, "telemed" in there) == (True, True)
    assert set(alertmanager.told.names("page")) == {whole, "TelemedTailLatencyBurnsFast"}
    assert {whole} in alertmanager.told.groups("page")


async def test_what_burns_on_alone_is_the_same_call(alertmanager: Alertmanager) -> None:
    """It grows by what was held back, and is not another: who pages by groups is not woken again."""
    whole, part = ALERTS["TelemedAvailabilityBurnsFast"], ALERTS["TelemedBookingSuccessBurnsFast"]
    await alertmanager.fire(whole, part)
    await until(lambda: alertmanager.told.names("page") == ["TelemedAvailabilityBurnsFast"])

    await alertmanager.fire(whole, until_seconds=0)
    await until(lambda: "TelemedBookingSuccessBurnsFast" in alertmanager.told.names("page"))

    assert len(set(calls(alertmanager))) == 1


async def test_a_steady_burn_that_gets_worse_calls_again(alertmanager: Alertmanager) -> None:
    """In a group of its own: a receiver that keeps incidents does not ring for what joins an acknowledged one."""
    await alertmanager.fire(ALERTS["TelemedAvailabilityBurnsSteadily"])
    await until(lambda: alertmanager.told.names("page") == ["TelemedAvailabilityBurnsSteadily"])

    await alertmanager.fire(ALERTS["TelemedAvailabilityBurnsFast"])
    await until(lambda: "TelemedAvailabilityBurnsFast" in alertmanager.told.names("page"))

    assert len(set(calls(alertmanager))) == 2


async def test_what_breaks_while_a_budget_burns_steadily_calls(alertmanager: Alertmanager) -> None:
    """For days, perhaps: bookings and logins must not be silent for so long."""
    breaking = {"TelemedBookingSuccessBurnsFast", "TelemedLoginsRefused"}
    await alertmanager.fire(ALERTS["TelemedAvailabilityBurnsSteadily"])
    await alertmanager.fire(*(ALERTS[name] for name in breaking))
    await until(lambda: breaking <= set(alertmanager.told.names("page")))


def calls(alertmanager: Alertmanager) -> list[str]:
    """Give the group of each notification of a page: who pages by it calls once for each."""
    return [str(one["groupKey"]) for receiver, one in alertmanager.told.notifications if receiver == "page"]


async def test_the_watchdog_comes_again_and_again_and_alone(alertmanager: Alertmanager) -> None:
    """While everything else fires too; three minutes without it mean that no alert would come."""
    everything = [labels for name, labels in ALERTS.items() if name != "TelemedWatchdog"]
    await alertmanager.fire(WATCHDOG, *everything)

    await until(lambda: len(alertmanager.told.groups("watchdog")) >= 5, within_seconds=20)

    assert all(group == {"TelemedWatchdog"} for group in alertmanager.told.groups("watchdog"))
    others = alertmanager.told.names("page") + alertmanager.told.names("ticket")
    assert "TelemedWatchdog" not in others
    assert others


async def test_a_watchdog_that_is_not_reported_stops_coming(alertmanager: Alertmanager) -> None:
    """Otherwise its receiver would not notice that Prometheus is gone."""
    await alertmanager.fire(WATCHDOG)
    await until(lambda: len(alertmanager.told.groups("watchdog")) >= 2)

    await alertmanager.fire(WATCHDOG, until_seconds=0)
    await until(lambda: _is_forgotten(alertmanager))

    # A page of now is told within its own waiting, by when the watchdog would have come again.
    come = len(alertmanager.told.groups("watchdog"))
    await alertmanager.fire(ALERTS["TelemedCacheLeftAlone"])
    await until(lambda: "TelemedCacheLeftAlone" in alertmanager.told.names("ticket"))
    assert len(alertmanager.told.groups("watchdog")) <= come + 1


async def _is_forgotten(alertmanager: Alertmanager) -> bool:
    return await alertmanager.suppressed() == {}
