"""What is held back while something else fires, as a real Alertmanager does it: one fault, one call."""

from collections.abc import AsyncIterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from tests.observability.alertmanager.server import Alertmanager, running_alertmanager
from tests.observability.alerts.rules import all_alerts
from tests.support.waiting import until

NAMES = {alert.name: alert.labels for alert in all_alerts()}
OBJECTIVES = {name for name, labels in NAMES.items() if "slo" in labels}
ABSENT = {name for name in OBJECTIVES if name.endswith("Absent")}
JOURNEYS = {"TelemedJourneysFail", "TelemedJourneysFailAtTimes"}
# What the worker does, and what it measured last.
JOBS = {
    "TelemedOutboxVeryOld",
    "TelemedOutboxOld",
    "TelemedWorkerJobStuck",
    "TelemedWorkerJobFailing",
    "TelemedAuditUnchained",
    "TelemedAuditUnverified",
    "TelemedInvariantsUnchecked",
}
POOLS = {"TelemedPoolExhausted", "TelemedPoolRefusing", "TelemedPoolWaiting"}
LATE = {"TelemedOutboxVeryOld", "TelemedOutboxOld", "TelemedAuditUnchained", "TelemedWorkerJobStuck"}
FRESHNESS = {"TelemedOutboxFreshnessAbsent", "TelemedAuditFreshnessAbsent"}

# Pages of objectives, the one that speaks for the others first.
BURNS = {
    slo: {name for name in OBJECTIVES - ABSENT if NAMES[name] | {"severity": "page", "slo": slo} == NAMES[name]}
    for slo in (
        "availability",
        "booking-success",
        "reads-latency",
        "writes-latency",
        "tail-latency",
        "outbox-freshness",
        "audit-freshness",
    )
}
STEADILY = {name for name in OBJECTIVES if name.endswith("BurnsSteadily")}
LATENCY = BURNS["reads-latency"] | BURNS["writes-latency"] | BURNS["tail-latency"]
FRESH = BURNS["outbox-freshness"] | BURNS["audit-freshness"]
REPORTS = {name for name in OBJECTIVES if NAMES[name]["severity"] == "ticket"}
ONE_LOOP = {"TelemedEventLoopBlocked"}
# What is held back by what burns fast, besides tickets.
HELD_BACK_BY_BUDGETS: dict[str, set[str]] = {
    "availability": BURNS["booking-success"]
    | LATENCY
    | FRESH
    | JOURNEYS
    | POOLS
    | ONE_LOOP
    | {"TelemedBookingsContended", "TelemedLoginsRefused", "TelemedWritesReadOnly"},
    "booking-success": LATENCY
    | FRESH
    | JOURNEYS
    | POOLS
    | ONE_LOOP
    | {"TelemedBookingsContended", "TelemedWritesReadOnly"},
    "reads-latency": BURNS["writes-latency"] | BURNS["tail-latency"] | ONE_LOOP,
    "writes-latency": BURNS["tail-latency"] | ONE_LOOP,
    "tail-latency": set(),
    "outbox-freshness": BURNS["audit-freshness"],
    "audit-freshness": set(),
}

CONSEQUENCES: dict[str, set[str]] = {
    "TelemedPrimaryLost": JOBS | POOLS | JOURNEYS | OBJECTIVES | {"TelemedWritesReadOnly"},
    "TelemedEventLoopsBlocked": OBJECTIVES - ABSENT
    | ONE_LOOP
    | {"TelemedBookingsContended", "TelemedLoginsRefused", "TelemedPoolExhausted"},
    "TelemedGone": ABSENT | JOURNEYS | {"TelemedComponentDown", "TelemedWorkerGone"},
    "TelemedComponentDown": ABSENT | JOURNEYS | JOBS | {"TelemedWorkerGone", "TelemedPartitionsUnmeasured"},
    "TelemedWorkerGone": JOBS | FRESHNESS | {"TelemedPartitionsUnmeasured"},
    **{name: REPORTS | HELD_BACK_BY_BUDGETS[slo] for slo, names in BURNS.items() for name in names - STEADILY},
    # What burns for days must not hide what breaks in that time.
    **dict.fromkeys(STEADILY, REPORTS),
    "TelemedAvailabilityBurnsSteadily": REPORTS | STEADILY,
    # Nobody measures: that explains no budget, and what belongs to its concern is told of once all the same.
    **{
        name: REPORTS | {"availability": JOURNEYS, "booking-success": JOURNEYS}.get(NAMES[name]["slo"], set())
        for name in ABSENT - FRESHNESS
    },
    **dict.fromkeys(FRESHNESS, REPORTS),
}
# Whatever tells of freshness was told before the oldest event or record became so old.
for name in FRESH | FRESHNESS:
    CONSEQUENCES[name] = CONSEQUENCES[name] | LATE
# A percentile is far above its promise before its budget burns.
for slo in ("reads-latency", "writes-latency"):
    (guard,) = (name for name in BURNS[slo] if name.endswith("P95GuardFast"))
    CONSEQUENCES[guard] = CONSEQUENCES[guard] | BURNS[slo] - {guard}


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    async with running_alertmanager(tmp_path, tells=False) as running:
        yield running


def consequences(cause: str) -> set[str]:
    """Return what is held back by an alert: what is listed above, and the tickets of a page's own area."""
    quieter = {
        name
        for name, labels in NAMES.items()
        if (NAMES[cause]["severity"], labels["severity"]) == ("page", "ticket")
        and labels["area"] == NAMES[cause]["area"]
    }
    return (CONSEQUENCES.get(cause, set()) | quieter) - {cause}


@pytest.mark.parametrize("cause", sorted(NAMES))
async def test_an_alert_holds_back_its_consequences_and_nothing_else(cause: str, alertmanager: Alertmanager) -> None:
    """With every other alert once, each pair in a namespace of its own; what always fires is never held back."""
    others = [name for name in NAMES if name != cause]
    await alertmanager.fire(*({**NAMES[name], "namespace": other} for other in others for name in (cause, other)))
    await everything_is_noticed(alertmanager)

    found = await alertmanager.suppressed()

    assert {other for other in others if found[other, other]} == consequences(cause)
    assert "TelemedWatchdog" not in consequences(cause)


def test_no_two_alerts_hold_each_other_back() -> None:
    """Nor several in a circle: then nobody would be called, as Alertmanager lets a held-back alert hold back others."""
    TopologicalSorter({cause: consequences(cause) for cause in NAMES}).prepare()


@pytest.mark.parametrize("elsewhere", [{"namespace": "staging"}, {"cluster": "another"}], ids=["namespace", "cluster"])
async def test_a_fault_of_one_place_does_not_silence_another(
    elsewhere: dict[str, str], alertmanager: Alertmanager
) -> None:
    """Staging's lost primary is no reason not to hear of production's, nor is that of another cluster."""
    here = {"namespace": "telemed", "cluster": "one"}
    await alertmanager.fire({**NAMES["TelemedPrimaryLost"], **here, **elsewhere})
    await alertmanager.fire({**NAMES["TelemedPoolExhausted"], **here})
    await everything_is_noticed(alertmanager)
    found = await alertmanager.suppressed()
    assert not found["telemed", "TelemedPoolExhausted"]


async def everything_is_noticed(alertmanager: Alertmanager) -> None:
    """Wait until what was fired before is known to inhibitions: they take alerts in the order of their coming."""
    for name in ("TelemedPrimaryLost", "TelemedPoolWaiting"):
        await alertmanager.fire({**NAMES[name], "namespace": "last"})

    async def is_noticed() -> bool:
        return (await alertmanager.suppressed()).get(("last", "TelemedPoolWaiting"), False)

    await until(is_noticed)
