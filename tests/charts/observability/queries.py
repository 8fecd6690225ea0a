"""What a query of Prometheus asks for, and which metrics there are to ask for."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import promql_parser
import yaml

METRICS_PAGE = Path(__file__).parents[3] / "observability" / "metrics.md"
RULES = Path(__file__).parents[3] / "charts" / "telemed-observability" / "rules"
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|[^|]*\|([^|]*)\|", re.MULTILINE)
# What Prometheus adds to whatever it scrapes from a pod.
TARGET_LABELS = frozenset({"namespace", "pod", "container", "instance"})
_PROBED = frozenset({"job", "probe"})
# What is shown by others, or by `telemed probe`, which is no part of the platform: name → labels beside the target's.
OTHERS: dict[str, frozenset[str]] = {
    # Prometheus, of every target
    "up": _PROBED,
    "scrape_samples_scraped": frozenset({"job"}),
    "scrape_duration_seconds": frozenset({"job"}),
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "area", "slo"}),
    # every process, of itself
    "process_cpu_seconds_total": frozenset(),
    "process_resident_memory_bytes": frozenset(),
    "process_open_fds": frozenset(),
    "process_max_fds": frozenset(),
    "process_start_time_seconds": frozenset(),
    # the blackbox exporter
    "probe_success": _PROBED,
    "probe_duration_seconds": _PROBED,
    "probe_http_status_code": _PROBED,
    "probe_ssl_earliest_cert_expiry": _PROBED,
    # kube-state-metrics
    "kube_pod_container_resource_limits": frozenset({"resource"}),
    # CloudNativePG's exporter in the poolers
    "cnpg_pgbouncer_pools_cl_waiting": frozenset({"database", "user"}),
    "cnpg_pgbouncer_pools_maxwait": frozenset({"database", "user"}),
    # synthetic journeys
    "telemed_probe_journeys_total": frozenset({"outcome"}),
    "telemed_probe_step_duration_seconds_bucket": frozenset({"step", "le"}),
    "telemed_probe_step_duration_seconds_sum": frozenset({"step"}),
    "telemed_probe_step_duration_seconds_count": frozenset({"step"}),
    "telemed_probe_succeeded_timestamp_seconds": frozenset(),
}


@dataclass
class Asked:
    """The metrics that a query names, and the labels by which it picks or groups."""

    metrics: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


@functools.cache  # asked for every query of every panel and rule; the files do not change meanwhile
def labels_by_metric() -> dict[str, frozenset[str]]:
    """Return every series' name with its labels: those of others, and ours as observability/metrics.md has them."""
    known = dict(OTHERS)
    for name, kind, labels in _ROW.findall(METRICS_PAGE.read_text()):
        own = frozenset(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            known |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            known[name] = own
    return known | _recorded()


def _recorded() -> dict[str, frozenset[str]]:
    """Return the series that rules record; beside those of targets, they have the labels that their rule gives them."""
    groups = [group for file in RULES.glob("*.yaml") for group in yaml.safe_load(file.read_text())["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "record" in rule]
    return {rule["record"]: frozenset(rule["labels"]) for rule in rules}


def asked(query: str) -> Asked:
    """Parse a query.

    Raises:
        ValueError: it is none.
    """
    found = Asked()
    for expression in _parts(promql_parser.parse(query)):
        if isinstance(expression, promql_parser.VectorSelector):
            found.metrics.add(expression.name or "")
            found.labels |= {matcher.name for matcher in expression.matchers.matchers}
        elif isinstance(expression, promql_parser.AggregateExpr) and expression.modifier is not None:
            found.labels |= set(expression.modifier.labels)
    return found


def unknown_in(query: str) -> set[str]:
    """Return what a query asks for that nobody shows: metrics, and labels that none of its metrics has."""
    known, wanted = labels_by_metric(), asked(query)
    labels = TARGET_LABELS.union(*(known.get(name, frozenset()) for name in wanted.metrics))
    return (wanted.metrics - known.keys()) | (wanted.labels - labels)


def _parts(expression: promql_parser.Expr) -> Iterator[promql_parser.Expr]:
    """Go through an expression and everything in it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from _parts(inner)
    for argument in getattr(expression, "args", None) or ():
        yield from _parts(argument)
