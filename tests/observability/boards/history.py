"""An hour in the life of a platform that does not run: the real metrics, moved by chance that is the same every time.

In the middle something fails for a few minutes, so that the pictures have something to show.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client.samples import Sample

from telemed.kernel.telemetry.metrics import Metrics

STEP_SECONDS = 15
NAMESPACE = "local"
PAGED = "TelemedAvailabilityBurnsFast"
_READS = {
    "booking": (("/booking/slots/search", 24.0, 0.012), ("/booking/doctors", 6.0, 0.009)),
    "consultation": (("/consultation/{id}", 5.0, 0.014), ("/consultation", 3.0, 0.02)),
    "auth": (("/auth/me", 4.0, 0.006),),
}
_WRITES = {
    "booking": (
        ("/booking/slots/book", "201", 3.0, 0.04),
        ("/booking/appointments/{appointment_id}/cancel", "200", 0.4, 0.03),
        ("/booking/appointments/{appointment_id}/reschedule", "200", 0.2, 0.05),
    ),
    "consultation": (
        ("/consultation/{id}/start", "200", 0.6, 0.03),
        ("/consultation/{id}/complete", "200", 0.5, 0.03),
        ("/consultation/{id}/no-show", "200", 0.1, 0.03),
        ("/consultation/{id}/prescription", "201", 0.5, 0.05),
    ),
    "auth": (("/auth/login", "200", 1.2, 0.3),),
}
_INVARIANTS = (
    "doctor_double_booked",
    "patient_double_booked",
    "slot_disagrees",
    "booking_unrecorded",
    "booking_unannounced",
    "prescription_unfounded",
)


@dataclass
class Pod:
    """A process: its metrics, and what Prometheus adds to them."""

    component: str
    metrics: Metrics = field(default_factory=Metrics)
    cpu_seconds: float = 0.0
    journeys: int = 0

    @property
    def labels(self) -> dict[str, str]:
        return {"namespace": NAMESPACE, "pod": f"telemed-{self.component}-0", "job": f"telemed-{self.component}"}


@dataclass(frozen=True)
class Moment:
    """One step: when it is, how busy, and whether it is the bad time."""

    at: float
    busy: float
    bad: bool
    chance: random.Random

    def count(self, rate: float) -> int:
        """How often something happened since the last step that happens *rate* times a second."""
        mean = rate * self.busy * STEP_SECONDS
        return max(0, round(self.chance.gauss(mean, math.sqrt(mean))))

    def seconds(self, usual: float) -> float:
        """How long it took this time."""
        return usual * self.chance.lognormvariate(0, 0.6) * (6 if self.bad else 1)


def history(end: float, *, minutes: int, seed: int = 5) -> Iterator[str]:
    """Write what Prometheus would have scraped until *end* (seconds since 1970), in OpenMetrics' text."""
    chance = random.Random(seed)  # noqa: S311 - nothing is protected by it
    pods = [Pod(component) for component in (*_READS, "worker")]
    steps = minutes * 60 // STEP_SECONDS
    for number in range(steps + 1):
        at = end - (steps - number) * STEP_SECONDS
        part = number / steps
        busy = 0.7 + 0.3 * math.sin(part * 5) + chance.gauss(0, 0.03)
        moment = Moment(at, busy, 0.55 < part < 0.63, chance)
        for pod in pods:
            _move(pod, moment)
            yield from _scraped(pod, at)
        yield from _from_outside(at, moment)
    yield "# EOF\n"


def _move(pod: Pod, moment: Moment) -> None:
    movers: tuple[Callable[[Pod, Moment], None], ...] = (_look_after,) if pod.component == "worker" else (_serve,)
    for mover in (*movers, _live, _ask_the_database):
        mover(pod, moment)


def _serve(pod: Pod, moment: Moment) -> None:
    metrics, service = pod.metrics, pod.component
    for route, rate, usual in _READS[service]:
        _answer(pod, moment, ("GET", route, "200"), (rate, usual))
    for route, status, rate, usual in _WRITES[service]:
        _answer(pod, moment, ("POST", route, status), (rate, usual))
    for priority, usual in (("critical", 1), ("normal", 3), ("browsing", 5)):
        metrics.in_flight.labels(priority).set(moment.count(usual / STEP_SECONDS) * (4 if moment.bad else 1))
        metrics.refused.labels(priority, "full").inc(moment.count(0.05) if moment.bad else 0)
    metrics.problems.labels(service, "slot-taken" if service == "booking" else "not-found").inc(moment.count(0.3))
    if service == "booking":
        _book(metrics, moment)
    if service == "auth":
        _log_in(metrics, moment)


def _answer(pod: Pod, moment: Moment, what: tuple[str, str, str], usual: tuple[float, float]) -> None:
    method, route, status = what
    labels = (pod.component, method, route)
    failed = moment.count(usual[0] * 0.03) if moment.bad else 0
    for name in ("500", "503"):
        pod.metrics.requests.labels(*labels, name, "user")
    pod.metrics.requests.labels(*labels, "503", "user").inc(failed)
    pod.metrics.requests.labels(*labels, "499", "user").inc(failed // 4)
    for _ in range(moment.count(usual[0])):
        pod.metrics.requests.labels(*labels, status, "user").inc()
        pod.metrics.latency.labels(*labels, "2xx", "user").observe(moment.seconds(usual[1]))


def _book(metrics: Metrics, moment: Moment) -> None:
    for outcome, rate in (
        ("booked", 3.0),
        ("taken", 0.5),
        ("contended", 0.1),
        ("patient_busy", 0.1),
        ("replayed", 0.05),
    ):
        metrics.bookings.labels(outcome).inc(moment.count(rate))
    for _ in range(moment.count(3.5)):
        metrics.booking_lock_wait.observe(moment.seconds(0.002))
    for result, rate in (("hit", 21.0), ("stale", 1.0), ("miss", 2.0), ("error", 0.0), ("rescued", 0.0)):
        metrics.cache.labels("search", result).inc(moment.count(rate))
    for _ in range(moment.count(24.0)):
        metrics.cache_calls.labels("answered").observe(moment.seconds(0.0006))
    metrics.breaker_open.set(0)


def _log_in(metrics: Metrics, moment: Moment) -> None:
    for outcome, rate in (("allowed", 1.2), ("failed", 0.1), ("throttled", 0.02), ("overloaded", 0.0)):
        metrics.logins.labels(outcome).inc(moment.count(rate))
    metrics.password_queue_capacity.set(32)
    metrics.password_queue.set(min(32, moment.count(0.15) * (6 if moment.bad else 1)))
    for _ in range(moment.count(1.3)):
        metrics.password_hash.observe(moment.chance.uniform(0.24, 0.33))


def _ask_the_database(pod: Pod, moment: Moment) -> None:
    metrics, is_worker = pod.metrics, pod.component == "worker"
    for outcome, rate in (("committed", 20.0), ("rolled_back", 0.8), ("retried", 0.05), ("no_connection", 0.0)):
        metrics.transactions.labels(outcome).inc(moment.count(rate))
    metrics.transactions.labels("unavailable").inc(moment.count(0.4) if moment.bad else 0)
    for pool in ("auditor",) if is_worker else ("services", "replica-1"):
        in_use = min(10, moment.count(0.15) * (4 if moment.bad else 1))
        metrics.pool_size.labels(pool).set(10)
        metrics.pool_in_use.labels(pool).set(in_use)
        metrics.pool_waiting.labels(pool).set(moment.count(0.3) if in_use == 10 else 0)
        for _ in range(moment.count(10.0)):
            metrics.pool_wait.labels(pool).observe(moment.seconds(0.0005))
            metrics.transaction_duration.labels(pool).observe(moment.seconds(0.006))
    metrics.reads.labels("replica", "near").inc(moment.count(12.0))
    metrics.reads.labels("primary", "behind").inc(moment.count(0.6))
    metrics.replica_lag.labels("replica-1").set(moment.seconds(0.6))
    for server in ("primary", "replica-1"):
        metrics.database_breaker_open.labels(server).set(int(moment.bad and server == "replica-1"))


def _look_after(pod: Pod, moment: Moment) -> None:
    metrics = pod.metrics
    for job in ("outbox", "audit-chain", "partitions", "invariants"):
        metrics.jobs.labels(job, "succeeded").inc()
        metrics.jobs.labels(job, "failed").inc(1 if moment.bad and job == "outbox" else 0)
        metrics.job_succeeded.labels(job).set(moment.at - moment.chance.uniform(0, 8))
    for outcome, rate in (("delivered", 4.0), ("failed", 0.02), ("parked", 0.0)):
        metrics.events.labels(outcome).inc(moment.count(rate))
    metrics.outbox_due.set(moment.count(0.4) * (9 if moment.bad else 1))
    metrics.outbox_due_age.set(moment.seconds(1.2))
    metrics.outbox_parked.set(0)
    for _ in range(moment.count(4.0)):
        metrics.outbox_delay.observe(moment.seconds(0.4))
    for subject in ("outbox", "audit"):
        late = moment.bad and subject == "outbox"
        metrics.freshness.labels(subject, "late").inc(late)
        metrics.freshness.labels(subject, "fresh").inc(not late)
    metrics.audit_chain_height.inc(moment.count(30.0))
    metrics.audit_unchained_age.set(moment.seconds(1.5))
    metrics.chain_verified_records.inc(moment.count(28.0))
    metrics.chain_verified.set(moment.at - 4)
    for invariant in _INVARIANTS:
        metrics.invariant_violations.labels(invariant).set(0)
        metrics.invariant_checked.labels(invariant).set(moment.at - moment.chance.uniform(5, 60))
    for table in ("audit", "outbox", "history"):
        metrics.partitions_ahead.labels(table).set(3)
        metrics.partitions_default_rows.labels(table).set(0)
        metrics.partitions_retirable.labels(table).set(0)


def _live(pod: Pod, moment: Moment) -> None:
    pod.metrics.build.labels("0.1.0", "4f2a9c1", "3.11.2").set(1)
    late = moment.seconds(0.02)
    pod.metrics.loop_lag.set(late / 10)
    pod.metrics.loop_late.inc(late)
    pod.cpu_seconds += STEP_SECONDS * 0.04 * len(pod.component) * moment.busy
    for decision, rate in (("sampled", 1.0), ("passed_over", 9.0), ("kept_slow", 0.02), ("kept_error", 0.02)):
        pod.metrics.traces.labels(decision).inc(moment.count(rate))
    pod.metrics.spans.labels("exported").inc(moment.count(8.0))


def _scraped(pod: Pod, at: float) -> Iterator[str]:
    """Write every sample, but those of this process itself, which are invented."""
    for family in pod.metrics.registry.collect():
        if not family.name.startswith("process_"):
            for sample in family.samples:
                yield _line(sample, pod.labels | dict(sample.labels), at)
    invented = {
        "process_cpu_seconds_total": pod.cpu_seconds,
        "process_resident_memory_bytes": 1e8 + 1e7 * len(pod.component) + 2e7 * math.sin(at / 900),
        "process_open_fds": 10 * len(pod.component) + 12 * math.sin(at / 300),
        "process_max_fds": 1024,
        "up": 1,
    }
    for name, value in invented.items():
        yield _line(Sample(name, {}, value), pod.labels, at)


def _from_outside(at: float, moment: Moment) -> Iterator[str]:
    """Write what a blackbox exporter and the synthetic patient show. The journeys' counters follow from the time."""
    looker = {"namespace": "outside", "pod": "telemed-probe-0", "job": "telemed-probe"}
    target = looker | {"probe": "api"}
    journeys = at // 30 % 1_000_000
    if moment.bad:
        firing = {"alertname": PAGED, "alertstate": "firing", "severity": "page", "namespace": NAMESPACE}
        yield _line(Sample("ALERTS", firing, 1), {}, at)
    yield _line(Sample("probe_success", {}, 0 if moment.bad else 1), target, at)
    yield _line(Sample("probe_ssl_earliest_cert_expiry", {}, at + 61 * 86400), target, at)
    yield _line(Sample("telemed_probe_succeeded_timestamp_seconds", {}, at - at % 30), looker, at)
    yield _line(Sample("telemed_probe_journeys_total", {"outcome": "held"}, journeys), looker, at)
    yield _line(Sample("telemed_probe_journeys_total", {"outcome": "failed"}, 0), looker, at)
    for step, share in (("search", 0.9), ("book", 0.6), ("cancel", 0.8)):
        for edge, part in (("0.05", share / 2), ("0.1", share), ("+Inf", 1.0)):
            labels = {"step": step, "le": edge}
            yield _line(Sample("telemed_probe_step_duration_seconds_bucket", labels, int(journeys * part)), looker, at)


def _line(sample: Sample, target: dict[str, str], at: float) -> str:
    """Write one sample; a label of its own goes before one of the target, as `honorLabels` has it."""
    labels = ",".join(f'{name}="{value}"' for name, value in (target | dict(sample.labels)).items())
    return f"{sample.name}{{{labels}}} {float(sample.value)} {at:.3f}\n"
