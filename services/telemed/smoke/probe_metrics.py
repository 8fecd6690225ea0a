"""The metrics of `telemed probe`. Each has a row in ``observability/metrics.md``."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from telemed.kernel.telemetry.metrics import LATENCY_BUCKETS


class ProbeMetrics:
    """What one probe has seen, in a registry of its own: it is no process of the platform and shows none of its."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.journeys = Counter(
            "telemed_probe_journeys_total", "Journeys by how they ended.", ["outcome"], registry=registry
        )
        for outcome in ("held", "failed"):
            self.journeys.labels(outcome)
        self.steps = Histogram(
            "telemed_probe_step_duration_seconds",
            "How long a step of the journey took, also one that failed.",
            ["step"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.succeeded = Gauge(
            "telemed_probe_succeeded_timestamp_seconds",
            "Unix time at which a journey last ended well.",
            registry=registry,
        )
