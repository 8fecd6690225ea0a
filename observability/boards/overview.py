"""Where one begins: whether users are served, by a few numbers that each lead to their own board."""

from observability.boards.model import Board, Colour, Panel, Row, Target, Threshold, Unit
from observability.boards.panels import number

from observability.boards import links, promql

REQUESTS = "telemed_http_requests_total"
DURATION = "telemed_http_request_duration_seconds"
OF_USERS = (promql.USERS, promql.ROUTES)
_FAILED_SHARE = promql.share(
    promql.increase(REQUESTS, *OF_USERS, promql.FAILED), promql.increase(REQUESTS, *OF_USERS, promql.ANSWERED)
)

_NOW = (
    number(
        "Requests",
        "Of users, in a second.",
        Unit.REQUESTS,
        promql.rate(REQUESTS, *OF_USERS),
        links.RED,
    ),
    number(
        "Served",
        "Share of the users' requests without a 5xx, in the time that is shown. Objective over 30 days: 99.95 %.",
        Unit.RATIO,
        f"1 - {_FAILED_SHARE}",
        links.SLO,
        thresholds=(Threshold(0.999, Colour.NOTICE), Threshold(0.9995, Colour.GOOD)),
        base=Colour.BAD,
        decimals=3,
    ),
    number(
        "Reads, p95",
        "Objective: 0.2 s.",
        Unit.SECONDS,
        promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.READS),
        links.RED,
        thresholds=(Threshold(0.2, Colour.BAD),),
    ),
    number(
        "Writes, p95",
        "Objective: 0.5 s.",
        Unit.SECONDS,
        promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.WRITES),
        links.RED,
        thresholds=(Threshold(0.5, Colour.BAD),),
    ),
    number(
        "Bookings",
        "Won in the time that is shown.",
        Unit.NUMBER,
        promql.increase("telemed_booking_attempts_total", 'outcome="booked"'),
        links.BOOKING,
        decimals=0,
    ),
    number(
        "Broken promises",
        "Double bookings, contradictions and broken links of the audit trail: 0, or somebody is awake.",
        Unit.NUMBER,
        f"sum by (namespace) (max by (namespace, invariant) ({promql.series('telemed_invariant_violations')}))"
        f" + on (namespace) {promql.highest('telemed_audit_chain_breaks')}",
        links.runbook("invariant-broken"),
        thresholds=(Threshold(1, Colour.BAD),),
        decimals=0,
    ),
)

_USERS = (
    Panel(
        "Requests by service",
        "Of users, answered or refused.",
        Unit.REQUESTS,
        (Target(promql.rate(REQUESTS, *OF_USERS, by=("service",)), "{{service}}"),),
        links.RED,
    ),
    Panel(
        "Failed requests",
        "Share of 5xx, early refusals among them. The line is what 30 days may show: 0.05 %.",
        Unit.RATIO,
        (
            Target(
                promql.share(
                    promql.rate(REQUESTS, *OF_USERS, promql.FAILED, by=("service",)),
                    promql.rate(REQUESTS, *OF_USERS, promql.ANSWERED, by=("service",)),
                ),
                "{{service}}",
            ),
        ),
        links.SLO,
        thresholds=(Threshold(0.0005, Colour.BAD),),
        decimals=2,
    ),
    Panel(
        "Duration, p95",
        "The lines are the objectives: reads 0.2 s, writes 0.5 s.",
        Unit.SECONDS,
        (
            Target(
                promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.READS), "reads", exemplars=True
            ),
            Target(
                promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.WRITES), "writes", exemplars=True
            ),
        ),
        links.RED,
        thresholds=(Threshold(0.2, Colour.NOTICE), Threshold(0.5, Colour.BAD)),
    ),
)

_WORK = (
    Panel(
        "Attempts to book",
        "By outcome, a minute.",
        Unit.PER_MINUTE,
        (Target(f"60 * {promql.rate('telemed_booking_attempts_total', by=('outcome',))} > 0", "{{outcome}}"),),
        links.BOOKING,
        stacked=True,
    ),
    Panel(
        "Waiting for a connection",
        "Transactions that wait, by pool, over all processes.",
        Unit.COUNT,
        (Target(promql.total("telemed_database_pool_waiting", by=("pool",)), "{{pool}}"),),
        links.DATA,
    ),
    Panel(
        "Oldest that waits",
        "The oldest event that is due, and the oldest audit record not chained. Beyond the line it counts as late.",
        Unit.SECONDS,
        (
            Target(promql.highest("telemed_outbox_oldest_due_seconds"), "event"),
            Target(promql.highest("telemed_audit_oldest_unchained_seconds"), "audit record"),
        ),
        links.DATA,
        thresholds=(Threshold(30, Colour.BAD),),
    ),
)

BOARD = Board(
    "overview",
    "Telemed: overview",
    "Whether users are served; each panel leads to the board that says more.",
    (Row("Now", _NOW), Row("Users", _USERS), Row("Work", _WORK)),
    variables=("namespace",),
)
