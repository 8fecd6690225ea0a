"""Every metric has a row in observability/metrics.md, and every row a metric."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from tests.support.source import modules

from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.tallies import Tallies, Timings
from telemed.smoke.probe_metrics import ProbeMetrics

PAGE = Path(__file__).parents[2] / "observability" / "metrics.md"
UNITS = frozenset(
    {"total", "seconds", "bytes", "ratio", "months", "rows", "events", "records"}  # measured
    | {"length", "capacity", "size", "height", "flight", "use", "waiting", "open"}  # counted at this moment
    | {"violations", "breaks", "info"}
)


class Shown(NamedTuple):
    """A metric as Prometheus sees it."""

    name: str
    kind: str | None
    labels: list[str]


def shown_by(metric: object) -> Shown | None:
    """Describe the library's metrics and our own."""
    if isinstance(metric, Tallies | Timings):
        return Shown(metric.name, metric.kind, list(metric.label_names))
    if isinstance(metric, MetricWrapperBase):
        name = f"{metric._name}_total" if metric._type == "counter" else metric._name
        return Shown(name, metric._type, list(metric._labelnames))
    return None


METRICS = {
    shown.name: shown
    for place in (Metrics(), ProbeMetrics())
    for metric in vars(place).values()
    if (shown := shown_by(metric)) is not None
}


def rows() -> dict[str, list[str]]:
    """Read the page's table: name → type, unit, labels, meaning."""
    table = [line.strip("| \n").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `telemed_")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in table}


def test_the_page_lists_exactly_the_metrics_that_exist() -> None:
    """An operator finds what they see, and sees what they find."""
    assert set(rows()) == set(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_row_says_what_the_metric_is(metric: Shown) -> None:
    """Type and labels as they are in the code; unit and meaning in words."""
    kind, unit, labels, meaning = rows()[metric.name]
    assert kind == metric.kind
    assert re.findall(r"`(\w+)`", labels) == metric.labels
    assert unit
    assert len(meaning) > 20


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_ends_with_its_unit(metric: Shown) -> None:
    """`telemed_<service>_<thing>_<unit>`."""
    assert metric.name.startswith("telemed_")
    assert metric.name.rpartition("_")[2] in UNITS
    assert isinstance(Metrics().registry, CollectorRegistry)


def test_every_metric_is_counted_somewhere() -> None:
    """A metric that nobody moves is an alert that never fires."""
    source = "".join(
        module.text for module in modules(outside=("kernel/telemetry/metrics.py", "smoke/probe_metrics.py"))
    )
    names = {*vars(Metrics()), *vars(ProbeMetrics())} - {"registry"}
    assert not [name for name in names if f"metrics.{name}" not in source]
