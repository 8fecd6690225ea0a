"""Every metric has a row in observability/metrics.md, and every row a metric."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from tests.support.source import modules

from telemed.kernel.telemetry.metrics import Metrics
from telemed.smoke.probe_metrics import ProbeMetrics

PAGE = Path(__file__).parents[2] / "observability" / "metrics.md"
UNITS = frozenset(
    {"total", "seconds", "bytes", "ratio", "months", "rows", "events", "records"}  # measured
    | {"length", "capacity", "size", "height", "flight", "use", "waiting", "open"}  # counted at this moment
    | {"violations", "breaks", "info"}
)
METRICS = {
    metric._name: metric
    for shown in (Metrics(), ProbeMetrics())
    for metric in vars(shown).values()
    if isinstance(metric, MetricWrapperBase)
}


def exposed_name(metric: MetricWrapperBase) -> str:
    """Give the name under which Prometheus sees it."""
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)


def rows() -> dict[str, list[str]]:
    """Read the page's table: name → type, unit, labels, meaning."""
    table = [line.strip("| \n").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `telemed_")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in table}


def test_the_page_lists_exactly_the_metrics_that_exist() -> None:
    """An operator finds what they see, and sees what they find."""
    assert set(rows()) == {exposed_name(metric) for metric in METRICS.values()}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_row_says_what_the_metric_is(metric: MetricWrapperBase) -> None:
    """Type and labels as they are in the code; unit and meaning in words."""
    kind, unit, labels, meaning = rows()[exposed_name(metric)]
    assert kind == metric._type
    assert re.findall(r"`(\w+)`", labels) == list(metric._labelnames)
    assert unit
    assert len(meaning) > 20


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_ends_with_its_unit(metric: MetricWrapperBase) -> None:
    """`telemed_<service>_<thing>_<unit>`."""
    assert exposed_name(metric).startswith("telemed_")
    assert exposed_name(metric).rpartition("_")[2] in UNITS
    assert isinstance(Metrics().registry, CollectorRegistry)


def test_every_metric_is_counted_somewhere() -> None:
    """A metric that nobody moves is an alert that never fires."""
    source = "".join(
        module.text for module in modules(outside=("kernel/telemetry/metrics.py", "smoke/probe_metrics.py"))
    )
    names = {*vars(Metrics()), *vars(ProbeMetrics())} - {"registry"}
    assert not [name for name in names if f"metrics.{name}" not in source]
