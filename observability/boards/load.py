"""What one watches while load is on: what is asked and answered, how fast, and what is about to be full."""

from observability.boards.model import Board, Colour, Panel, Row, Target, Threshold, Unit
from observability.boards.panels import number

from observability.boards import links, promql

REQUESTS = "telemed_http_requests_total"
DURATION = "telemed_http_request_duration_seconds"
OF_USERS = (promql.SERVICE, promql.USERS, promql.ROUTES)
_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
_LEFT = 'status="499"'
_WELL = 'status!~"5..|499"'


def _percentiles(title: str, methods: str, objective: float) -> Panel:
    return Panel(
        title,
        f"As the server measures it: the wait in the client's queue is not in it. The line is the objective of the p95:"
        f" {objective} s.",
        Unit.SECONDS,
        tuple(
            Target(promql.quantile(at, DURATION, *OF_USERS, promql.NOT_FAILED, methods), name, exemplars=True)
            for at, name in _QUANTILES
        ),
        links.SLO,
        thresholds=(Threshold(objective, Colour.BAD),),
    )


_NOW = (
    number(
        "Offered",
        "Requests that arrive in a second, whatever becomes of them.",
        Unit.REQUESTS,
        promql.rate(REQUESTS, *OF_USERS),
        links.RED,
    ),
    number(
        "Answered well",
        "Without 5xx, and with a client that was still there.",
        Unit.REQUESTS,
        promql.rate(REQUESTS, *OF_USERS, _WELL),
        links.RED,
    ),
    number(
        "Failed",
        "Share of 5xx, refusals among them.",
        Unit.RATIO,
        promql.share(
            promql.rate(REQUESTS, *OF_USERS, promql.FAILED), promql.rate(REQUESTS, *OF_USERS, promql.ANSWERED)
        ),
        links.SLO,
        thresholds=(Threshold(0.0005, Colour.BAD),),
        decimals=2,
    ),
    number(
        "Reads, p95",
        "Objective: 0.2 s.",
        Unit.SECONDS,
        promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.READS),
        links.SLO,
        thresholds=(Threshold(0.2, Colour.BAD),),
    ),
    number(
        "Writes, p95",
        "Objective: 0.5 s.",
        Unit.SECONDS,
        promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.WRITES),
        links.SLO,
        thresholds=(Threshold(0.5, Colour.BAD),),
    ),
    number(
        "Bookings",
        "Won in a second, synthetic ones among them.",
        Unit.EVENTS,
        promql.rate("telemed_booking_attempts_total", 'outcome="booked"'),
        links.BOOKING,
        decimals=2,
    ),
)

_ANSWERS = (
    Panel(
        "Offered and answered",
        "Where the lines part, the platform has had enough. Failed: 5xx. Left: the client went first (499).",
        Unit.REQUESTS,
        (
            Target(promql.rate(REQUESTS, *OF_USERS), "offered"),
            Target(promql.rate(REQUESTS, *OF_USERS, _WELL), "answered well"),
            Target(promql.rate(REQUESTS, *OF_USERS, promql.FAILED), "failed"),
            Target(f"{promql.rate(REQUESTS, *OF_USERS, _LEFT)} or 0 * {promql.rate(REQUESTS, *OF_USERS)}", "left"),
        ),
        links.RED,
    ),
    _percentiles("Reads", promql.READS, 0.2),
    _percentiles("Writes", promql.WRITES, 0.5),
)

_FULL = (
    Panel(
        "CPU",
        "Cores in use by process; one process of ours uses one at most, and hashing a little of a second.",
        Unit.NUMBER,
        (Target(promql.of_ours(f"rate({promql.series('process_cpu_seconds_total')}[$__rate_interval])"), "{{pod}}"),),
        links.runbook("event-loop-blocked"),
        width=6,
    ),
    Panel(
        "Event loop blocked",
        "Share of the time in which a process could not begin anything, in the worst one.",
        Unit.RATIO,
        (
            Target(
                "max by (namespace, pod)"
                f" (rate({promql.series('telemed_event_loop_late_seconds_total')}[$__rate_interval]))",
                "{{pod}}",
            ),
        ),
        links.runbook("event-loop-blocked"),
        width=6,
    ),
    Panel(
        "Pools",
        "Share of the connections in use, in the fullest process; at 1 transactions wait.",
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
        "Wait for a connection, p95",
        "By pool. The first thing that grows when the database is the limit.",
        Unit.SECONDS,
        (Target(promql.quantile(0.95, "telemed_database_pool_wait_seconds", by=("pool",)), "{{pool}}"),),
        links.runbook("pool-waiting"),
        width=6,
    ),
    Panel(
        "Requests in flight",
        "By priority. A level that grows with a steady rate is a queue.",
        Unit.COUNT,
        (Target(promql.total("telemed_http_requests_in_flight", by=("priority",)), "{{priority}}"),),
        links.RED,
        width=6,
        stacked=True,
    ),
    Panel(
        "Refused at the door",
        "By priority: browsing goes first, bookings last.",
        Unit.REQUESTS,
        (Target(promql.rate("telemed_http_requests_refused_total", by=("priority",)), "{{priority}}"),),
        links.RED,
        width=6,
    ),
    Panel(
        "Cache hits",
        "Share of the look-ups that were answered from the cache, stale ones among them.",
        Unit.RATIO,
        (
            Target(
                promql.share(
                    promql.rate("telemed_cache_lookups_total", 'result=~"hit|stale"', by=("cache",)),
                    promql.rate("telemed_cache_lookups_total", by=("cache",)),
                ),
                "{{cache}}",
            ),
        ),
        links.DATA,
        width=6,
        maximum=1,
    ),
    Panel(
        "Outbox",
        "Events that are due and not delivered yet. It may grow in a rush; it must shrink after it.",
        Unit.COUNT,
        (Target(promql.highest("telemed_outbox_due_events"), "due"),),
        links.runbook("outbox-old"),
        width=6,
    ),
)

BOARD = Board(
    "load",
    "Telemed: load test",
    "What is asked and answered, how fast, and what is about to be full.",
    (Row("Now", _NOW), Row("Asked and answered", _ANSWERS), Row("What is about to be full", _FULL)),
)
