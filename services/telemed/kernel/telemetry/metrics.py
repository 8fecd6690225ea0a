"""The metrics of one process. Each has a row in ``observability/metrics.md``; labels come from closed sets.

What an alert takes the rate of is there at zero from the start: Prometheus cannot see the first increase of a series
that begins with it.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

from telemed.kernel.telemetry.tallies import Tallies, Timings

# Edges where objectives lie: 0.2 for reads, 0.5 for writes, 1 for the tail. The customary ones jump from 0.1 to 0.25.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
# Waiting for what others hold: next to nothing as a rule, at most the pool's or the lock's time-out.
_POOL_WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 3)
_LOCK_WAIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
# Around the time after which a request goes on without Redis (0.05 by default).
_CACHE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
# bcrypt of cost 10, 11 and 12 takes 0.07, 0.14 and 0.27 on a core of its own.
_HASH_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5)
# From the next look of the relay to the quarter of an hour after which somebody is called.
_DELIVERY_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)

TRANSACTION_OUTCOMES = (
    "committed",
    "rolled_back",
    "retried",
    "no_connection",
    "unavailable",
    "read_only",
    "unknown",
)
BOOKING_OUTCOMES = (
    "booked",
    "replayed",
    "taken",
    "contended",
    "patient_busy",
    "started",
    "missing",
    "refused",
    "failed",
    "unknown",
)


class Metrics:
    """Every metric of the platform, in a registry of its own so that two applications can share a process."""

    def __init__(self) -> None:
        # When a series was made is asked by nobody, and would double their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._count_http(registry)
        self._count_database(registry)
        self._count_cache(registry)
        self._count_process(registry)
        self._count_services(registry)
        self._count_worker(registry)
        self._count_outbox(registry)
        self._count_trail(registry)
        self._count_tables(registry)

    def _count_http(self, registry: CollectorRegistry) -> None:
        self.requests = Tallies(
            "telemed_http_requests_total",
            "Requests answered.",
            ["service", "method", "route", "status", "traffic"],
            registry,
        )
        self.latency = Timings(
            "telemed_http_request_duration_seconds",
            "Time from the request's first byte to the response's last.",
            ["service", "method", "route", "status_class", "traffic"],
            LATENCY_BUCKETS,
            registry,
        )
        self.in_flight = Gauge(
            "telemed_http_requests_in_flight", "Requests being answered.", ["priority"], registry=registry
        )
        self.refused = Counter(
            "telemed_http_requests_refused_total",
            "Requests refused before anything was done for them.",
            ["priority", "reason"],
            registry=registry,
        )
        self.problems = Counter(
            "telemed_http_problems_total", "Problem documents sent.", ["service", "type"], registry=registry
        )

    def _count_database(self, registry: CollectorRegistry) -> None:
        self.transactions = Counter(
            "telemed_database_transactions_total",
            "Transactions by how they ended.",
            ["outcome"],
            registry=registry,
        )
        _begin_at_zero(self.transactions, TRANSACTION_OUTCOMES)
        self.transaction_duration = Histogram(
            "telemed_database_transaction_duration_seconds",
            "Time from the connection in hand to the end of the transaction.",
            ["pool"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.pool_size = Gauge(
            "telemed_database_pool_size", "Connections that the pool may have.", ["pool"], registry=registry
        )
        self.pool_in_use = Gauge(
            "telemed_database_pool_in_use", "Connections checked out.", ["pool"], registry=registry
        )
        self.pool_waiting = Gauge(
            "telemed_database_pool_waiting", "Transactions that wait for a connection.", ["pool"], registry=registry
        )
        self.pool_wait = Histogram(
            "telemed_database_pool_wait_seconds",
            "How long a transaction waited for its connection.",
            ["pool"],
            buckets=_POOL_WAIT_BUCKETS,
            registry=registry,
        )
        self.reads = Counter(
            "telemed_database_reads_total",
            "Reads that replicas may serve, by who served them and why.",
            ["served_by", "reason"],
            registry=registry,
        )
        self.replica_lag = Gauge(
            "telemed_database_replica_lag_seconds",
            "For how long a replica may lack what the primary did.",
            ["replica"],
            registry=registry,
        )
        self.database_breaker_open = Gauge(
            "telemed_database_breaker_open", "1 while a server is left alone.", ["server"], registry=registry
        )

    def _count_cache(self, registry: CollectorRegistry) -> None:
        self.cache = Tallies(
            "telemed_cache_lookups_total",
            "Cache lookups: hit, stale, miss, error (the source was asked instead) or rescued (the source failed).",
            ["cache", "result"],
            registry,
        )
        self.cache_calls = Histogram(
            "telemed_cache_call_duration_seconds",
            "How long Redis took to answer, or was waited for in vain.",
            ["outcome"],
            buckets=_CACHE_BUCKETS,
            registry=registry,
        )
        _begin_at_zero(self.cache_calls, ("answered", "failed"))
        self.breaker_open = Gauge(
            "telemed_cache_breaker_open", "Servers of Redis that are not asked at the moment.", registry=registry
        )
        self.cache_rebuilds = Counter(
            "telemed_cache_rebuilds_total", "Clients of Redis that were thrown away and built anew.", registry=registry
        )

    def _count_process(self, registry: CollectorRegistry) -> None:
        self.loop_lag = Gauge("telemed_event_loop_lag_seconds", "How late the event loop last was.", registry=registry)
        self.loop_late = Counter(
            "telemed_event_loop_late_seconds_total",
            "By how much the event loop was late, summed up.",
            registry=registry,
        )
        self.build = Gauge(
            "telemed_build_info", "1, for what runs here.", ["version", "revision", "python"], registry=registry
        )
        self.traces = Tallies(
            "telemed_traces_total", "Requests and jobs by what became of their trace.", ["decision"], registry
        )
        _begin_at_zero(self.traces, ("sampled", "kept_error", "kept_slow", "passed_over"))
        self.spans = Counter(
            "telemed_trace_spans_total", "Spans by what became of them.", ["outcome"], registry=registry
        )
        _begin_at_zero(self.spans, ("exported", "dropped", "failed"))

    def _count_services(self, registry: CollectorRegistry) -> None:
        self.logins = Counter("telemed_auth_logins_total", "Logins by outcome.", ["outcome"], registry=registry)
        _begin_at_zero(self.logins, ("allowed", "failed", "throttled", "overloaded"))
        self.password_queue = Gauge(
            "telemed_auth_password_queue_length", "Logins that wait for a hashing thread.", registry=registry
        )
        self.password_queue_capacity = Gauge(
            "telemed_auth_password_queue_capacity", "Logins that may wait for a hashing thread.", registry=registry
        )
        self.password_hash = Histogram(
            "telemed_auth_password_hash_duration_seconds",
            "How long a hash took on its thread.",
            buckets=_HASH_BUCKETS,
            registry=registry,
        )
        self.bookings = Counter(
            "telemed_booking_attempts_total",
            "Attempts to book a slot by how they ended.",
            ["outcome"],
            registry=registry,
        )
        _begin_at_zero(self.bookings, BOOKING_OUTCOMES)
        self.booking_lock_wait = Histogram(
            "telemed_booking_lock_wait_seconds",
            "How long a slot's row was waited for.",
            buckets=_LOCK_WAIT_BUCKETS,
            registry=registry,
        )

    def _count_worker(self, registry: CollectorRegistry) -> None:
        self.jobs = Counter("telemed_worker_jobs_total", "Runs of jobs.", ["job", "outcome"], registry=registry)
        self.job_succeeded = Gauge(
            "telemed_worker_job_succeeded_timestamp_seconds",
            "Unix time at which the job last ended well.",
            ["job"],
            registry=registry,
        )
        self.freshness = Counter(
            "telemed_freshness_checks_total",
            "Looks at what waits in the outbox and before the audit chain, by whether it waits for too long.",
            ["subject", "result"],
            registry=registry,
        )
        self.invariant_violations = Gauge(
            "telemed_invariant_violations", "Violations that the last look found.", ["invariant"], registry=registry
        )
        self.invariant_checked = Gauge(
            "telemed_invariant_checked_timestamp_seconds",
            "Unix time of the last look that came to its end.",
            ["invariant"],
            registry=registry,
        )

    def _count_outbox(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "telemed_outbox_events_total",
            "Deliveries of events: delivered, failed or parked.",
            ["outcome"],
            registry=registry,
        )
        self.outbox_due = Gauge("telemed_outbox_due_events", "Events that wait for delivery.", registry=registry)
        self.outbox_due_age = Gauge(
            "telemed_outbox_oldest_due_seconds", "How long the longest waiting event is due.", registry=registry
        )
        self.outbox_parked = Gauge("telemed_outbox_parked_events", "Events that were given up on.", registry=registry)
        self.outbox_delay = Histogram(
            "telemed_outbox_delivery_delay_seconds",
            "Time from an event's occurrence to its delivery.",
            buckets=_DELIVERY_BUCKETS,
            registry=registry,
        )

    def _count_trail(self, registry: CollectorRegistry) -> None:
        self.audit_chain_height = Gauge(
            "telemed_audit_chain_height", "Records in the hash chain, as this worker last saw it.", registry=registry
        )
        self.audit_unchained_age = Gauge(
            "telemed_audit_oldest_unchained_seconds",
            "Age of the oldest record that is not in the hash chain yet.",
            registry=registry,
        )
        self.chain_breaks = Gauge(
            "telemed_audit_chain_breaks", "Links that are not what they must be.", registry=registry
        )
        self.chain_verified_records = Gauge(
            "telemed_audit_chain_verified_records", "Links that this pass has looked at.", registry=registry
        )
        self.chain_verified = Gauge(
            "telemed_audit_chain_verified_timestamp_seconds",
            "Unix time at which links were last looked at.",
            registry=registry,
        )

    def _count_tables(self, registry: CollectorRegistry) -> None:
        self.partitions_ahead = Gauge(
            "telemed_partitions_ahead_months",
            "Months that are made ahead without a gap; -1 if this one is missing.",
            ["table"],
            registry=registry,
        )
        self.partitions_default_rows = Gauge(
            "telemed_partitions_default_rows", "Rows that found no month of theirs.", ["table"], registry=registry
        )
        self.partitions_retirable = Gauge(
            "telemed_partitions_retirable_months",
            "Partitions whose months have been kept for long enough.",
            ["table"],
            registry=registry,
        )


def _begin_at_zero(metric: MetricWrapperBase | Tallies, values: Iterable[str]) -> None:
    for value in values:
        metric.labels(value)
