"""The metrics of one process. Each has a row in ``observability/metrics.md``; labels come from closed sets."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

# Edges where objectives lie: 0.2 for reads, 0.5 for writes, 1 for the tail. The customary ones jump from 0.1 to 0.25.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Every metric that the kernel keeps, in a registry of its own so that two applications can share a process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._count_http(registry)
        self._count_storage(registry)
        self._count_worker(registry)
        self._count_services(registry)

    def _count_http(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "telemed_http_requests_total",
            "Requests answered.",
            ["service", "method", "route", "status"],
            registry=registry,
        )
        self.latency = Histogram(
            "telemed_http_request_duration_seconds",
            "Time from the request's first byte to the response's last.",
            ["service", "method", "route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
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

    def _count_storage(self, registry: CollectorRegistry) -> None:
        self.transactions = Counter(
            "telemed_database_transactions_total",
            "Transactions by how they ended.",
            ["outcome"],
            registry=registry,
        )
        self.pool_in_use = Gauge("telemed_database_pool_in_use", "Connections checked out.", registry=registry)
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
        self.cache = Counter(
            "telemed_cache_lookups_total",
            "Cache lookups: hit, stale, miss, error (the source was asked instead) or rescued (the source failed).",
            ["cache", "result"],
            registry=registry,
        )
        self.breaker_open = Gauge(
            "telemed_cache_breaker_open", "Servers of Redis that are not asked at the moment.", registry=registry
        )
        self.cache_rebuilds = Counter(
            "telemed_cache_rebuilds_total", "Clients of Redis that were thrown away and built anew.", registry=registry
        )
        self.loop_lag = Gauge("telemed_event_loop_lag_seconds", "How late the event loop last was.", registry=registry)

    def _count_worker(self, registry: CollectorRegistry) -> None:
        self.jobs = Counter("telemed_worker_jobs_total", "Runs of jobs.", ["job", "outcome"], registry=registry)
        self.events = Counter(
            "telemed_outbox_events_total",
            "Deliveries of events: delivered, failed or parked.",
            ["outcome"],
            registry=registry,
        )
        self.job_succeeded = Gauge(
            "telemed_worker_job_succeeded_timestamp_seconds",
            "Unix time at which the job last ended well.",
            ["job"],
            registry=registry,
        )
        self.outbox_due = Gauge("telemed_outbox_due_events", "Events that wait for delivery.", registry=registry)
        self.outbox_due_age = Gauge(
            "telemed_outbox_oldest_due_seconds", "How long the longest waiting event is due.", registry=registry
        )
        self.outbox_parked = Gauge("telemed_outbox_parked_events", "Events that were given up on.", registry=registry)
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
        self.audit_chain_height = Gauge(
            "telemed_audit_chain_height", "Records in the hash chain, as this worker last saw it.", registry=registry
        )
        self.audit_unchained_age = Gauge(
            "telemed_audit_oldest_unchained_seconds",
            "Age of the oldest record that is not in the hash chain yet.",
            registry=registry,
        )

    def _count_services(self, registry: CollectorRegistry) -> None:
        self.logins = Counter("telemed_auth_logins_total", "Logins by outcome.", ["outcome"], registry=registry)
        self.password_queue = Gauge(
            "telemed_auth_password_queue_length", "Logins that wait for a hashing thread.", registry=registry
        )
