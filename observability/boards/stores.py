"""Rows of the data plane's board about what stores: the database, its pools and replicas, the cache."""

from observability.boards.model import Colour, Panel, Target, Threshold, Unit

from observability.boards import links, promql

TRANSACTIONS_TOTAL = "telemed_database_transactions_total"
LOOKUPS = "telemed_cache_lookups_total"
QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))

CONNECTIONS = (
    Panel(
        "Connections in use",
        "Share of each pool, in the fullest process. At 1 transactions wait.",
        Unit.RATIO,
        (
            Target(
                f"max by (namespace, pool) ({promql.series('telemed_database_pool_in_use')}"
                f" / ({promql.series('telemed_database_pool_size')} > 0))",
                "{{pool}}",
            ),
        ),
        links.runbook("pool-waiting"),
        width=6,
        thresholds=(Threshold(1, Colour.BAD),),
    ),
    Panel(
        "Waiting for a connection",
        "Transactions that wait, by pool, over all processes.",
        Unit.COUNT,
        (Target(promql.total("telemed_database_pool_waiting", by=("pool",)), "{{pool}}"),),
        links.runbook("pool-waiting"),
        width=6,
    ),
    Panel(
        "Wait for a connection, p95",
        "By pool. Beyond the line one in twenty waits for half of the time in which a read is to be answered.",
        Unit.SECONDS,
        (Target(promql.quantile(0.95, "telemed_database_pool_wait_seconds", by=("pool",)), "{{pool}}"),),
        links.runbook("pool-waiting"),
        width=6,
        thresholds=(Threshold(0.1, Colour.BAD),),
    ),
    Panel(
        "Duration of transactions, p95",
        "By pool, the wait for the connection not included.",
        Unit.SECONDS,
        (Target(promql.quantile(0.95, "telemed_database_transaction_duration_seconds", by=("pool",)), "{{pool}}"),),
        links.runbook("pool-waiting"),
        width=6,
    ),
)

TRANSACTIONS = (
    Panel(
        "Transactions",
        "Committed, and rolled back by a decision of ours.",
        Unit.EVENTS,
        (Target(promql.rate(TRANSACTIONS_TOTAL, 'outcome=~"committed|rolled_back"', by=("outcome",)), "{{outcome}}"),),
        links.RED,
        width=6,
    ),
    Panel(
        "Transactions that failed",
        "No connection, server gone, read-only, outcome unknown; retried ones are lost races that were tried again.",
        Unit.EVENTS,
        (Target(promql.rate(TRANSACTIONS_TOTAL, 'outcome!~"committed|rolled_back"', by=("outcome",)), "{{outcome}}"),),
        links.runbook("writes-read-only"),
        width=6,
    ),
    Panel(
        "Replica lag",
        "What the least behind process sees. Beyond the line nobody asks the replica.",
        Unit.SECONDS,
        (Target(promql.lowest("telemed_database_replica_lag_seconds", by=("replica",)), "{{replica}}"),),
        links.runbook("replica-lag"),
        width=6,
        thresholds=(Threshold(10, Colour.BAD),),
    ),
    Panel(
        "Reads that a replica may serve",
        "Who serves them, and why. By the primary: it pays for what the replicas do not.",
        Unit.EVENTS,
        (Target(promql.rate("telemed_database_reads_total", by=("served_by", "reason")), "{{served_by}}: {{reason}}"),),
        links.runbook("replica-lag"),
        width=6,
    ),
)

CACHE = (
    Panel(
        "Servers left alone",
        "Processes that have given a server up because it did not answer.",
        Unit.NUMBER,
        (
            Target(promql.total("telemed_database_breaker_open", by=("server",)), "{{server}}"),
            Target(promql.total("telemed_cache_breaker_open"), "cache"),
        ),
        links.runbook("breaker-open"),
        width=6,
    ),
    Panel(
        "Cache hits",
        "Share of the look-ups that the cache answered, stale ones among them.",
        Unit.RATIO,
        (
            Target(
                promql.share(
                    promql.rate(LOOKUPS, 'result=~"hit|stale"', by=("cache",)), promql.rate(LOOKUPS, by=("cache",))
                ),
                "{{cache}}",
            ),
        ),
        links.runbook("breaker-open"),
        width=6,
        maximum=1,
    ),
    Panel(
        "Look-ups",
        "Error: the cache did not answer, the source was asked. Rescued: the source did not, the last known was given.",
        Unit.EVENTS,
        (Target(promql.rate(LOOKUPS, by=("result",)), "{{result}}"),),
        links.runbook("breaker-open"),
        width=6,
        stacked=True,
    ),
    Panel(
        "Calls of the cache",
        "That were answered. More than a few milliseconds is a network or a busy process, seldom the cache.",
        Unit.SECONDS,
        tuple(
            Target(promql.quantile(at, "telemed_cache_call_duration_seconds", 'outcome="answered"'), name)
            for at, name in QUANTILES
        ),
        links.runbook("breaker-open"),
        width=6,
    ),
)
