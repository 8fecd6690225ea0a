"""Rate, errors and duration of every service and route, logins, and who answers at all."""

from observability.boards.model import Board, Colour, Kind, Panel, Row, Target, Threshold, Unit

from observability.boards import links, promql

REQUESTS = "telemed_http_requests_total"
DURATION = "telemed_http_request_duration_seconds"
OF_USERS = (promql.SERVICE, promql.USERS)
ROUTE = ("method", "route")
_PROBED = 'probe!=""'
_TRIES = f"min by (namespace, probe) (avg_over_time({promql.series('probe_success', _PROBED)}[5m]))"
_CERTIFICATES = f"min by (namespace, probe) ({promql.series('probe_ssl_earliest_cert_expiry', _PROBED)}) - time()"

_SERVICES = (
    Panel(
        "Requests by service",
        "Of users, answered or refused; probes and synthetic journeys are not counted.",
        Unit.REQUESTS,
        (Target(promql.rate(REQUESTS, *OF_USERS, by=("service",)), "{{service}}"),),
        links.BOOKING,
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
        "Answers by status",
        "499: the client left before the answer came. A wave of 4xx is somebody's broken client, or an attack.",
        Unit.REQUESTS,
        (Target(f"{promql.rate(REQUESTS, *OF_USERS, by=('status',))} > 0", "{{status}}"),),
        links.runbook("target-down"),
        stacked=True,
    ),
)

_DURATIONS = (
    *(
        Panel(
            f"Duration, p{percent}",
            f"Of what was worked on, by service; what failed is not in it. {meaning}",
            Unit.SECONDS,
            (
                Target(
                    promql.quantile(percent / 100, DURATION, *OF_USERS, promql.NOT_FAILED, by=("service",)),
                    "{{service}}",
                    exemplars=True,
                ),
            ),
            links.SLO,
            width=6,
            thresholds=(Threshold(limit, Colour.BAD),),
        )
        for percent, limit, meaning in (
            (50, 0.2, "The usual request."),
            (95, 0.2, "The line is the objective of reads; writes may take 0.5 s."),
            (99, 1.0, "The line is the objective of the tail."),
        )
    ),
    Panel(
        "Where the answers lie",
        "How many requests took how long: two bands are two kinds of request, or a cache that misses.",
        Unit.SECONDS,
        (Target(promql.buckets(DURATION, *OF_USERS, promql.NOT_FAILED), "{{le}}"),),
        links.DATA,
        kind=Kind.HEATMAP,
        width=6,
    ),
)

_ROUTES = (
    Panel(
        "Routes",
        "As of now: how often each is asked, what fails, how long it takes. Routes that nobody asks are left out.",
        Unit.SECONDS,
        (
            Target(f"{promql.rate(REQUESTS, *OF_USERS, by=ROUTE)} > 0", "Requests", unit=Unit.REQUESTS, decimals=2),
            Target(
                promql.share(
                    promql.rate(REQUESTS, *OF_USERS, promql.FAILED, by=ROUTE),
                    promql.rate(REQUESTS, *OF_USERS, promql.ANSWERED, by=ROUTE),
                ),
                "Failed",
                unit=Unit.RATIO,
                decimals=2,
                thresholds=(Threshold(0.0005, Colour.BAD),),
            ),
            *(
                Target(
                    promql.quantile(percent / 100, DURATION, *OF_USERS, promql.NOT_FAILED, by=ROUTE),
                    f"p{percent}",
                    thresholds=limits,
                )
                for percent, limits in (
                    (50, ()),
                    (95, (Threshold(0.2, Colour.NOTICE), Threshold(0.5, Colour.BAD))),
                    (99, (Threshold(1, Colour.BAD),)),
                )
            ),
        ),
        links.DATA,
        kind=Kind.TABLE,
        width=14,
        height=12,
        labels=ROUTE,
        sort_by="Requests",
    ),
    Panel(
        "Duration by route, p95",
        "Of routes that are asked. What only one route shows is its query or its lock; what all show is the platform.",
        Unit.SECONDS,
        (
            Target(
                promql.quantile(0.95, DURATION, *OF_USERS, promql.NOT_FAILED, promql.ROUTES, by=ROUTE),
                "{{method}} {{route}}",
                exemplars=True,
            ),
        ),
        links.DATA,
        width=10,
        height=12,
    ),
)

_LOAD = (
    Panel(
        "Requests in flight",
        "Being worked on at this moment, by priority. Bookings outrank browsing.",
        Unit.COUNT,
        (Target(promql.total("telemed_http_requests_in_flight", by=("priority",)), "{{priority}}"),),
        links.LOAD,
        stacked=True,
    ),
    Panel(
        "Refused at the door",
        "503 before anything was done, by priority and reason: full, exports, or a late event loop.",
        Unit.REQUESTS,
        (
            Target(
                promql.rate("telemed_http_requests_refused_total", by=("priority", "reason")),
                "{{priority}}: {{reason}}",
            ),
        ),
        links.runbook("event-loop-blocked"),
        base=Colour.BAD,
    ),
    Panel(
        "Problems by type",
        "Problem documents sent, by their slug: what users are told when it does not go well.",
        Unit.REQUESTS,
        (Target(f"{promql.rate('telemed_http_problems_total', promql.SERVICE, by=('type',))} > 0", "{{type}}"),),
        links.BOOKING,
    ),
)

_LOGINS = (
    Panel(
        "Logins",
        "Overloaded: refused because too many passwords wait to be hashed. Throttled: too many failures before.",
        Unit.EVENTS,
        (Target(promql.rate("telemed_auth_logins_total", by=("outcome",)), "{{outcome}}"),),
        links.runbook("logins-refused"),
    ),
    Panel(
        "Password queue",
        "Share of the places that are taken, in the fullest process; beyond the line somebody is written to.",
        Unit.RATIO,
        (
            Target(
                f"max by (namespace) ({promql.series('telemed_auth_password_queue_length')}"
                f" / ({promql.series('telemed_auth_password_queue_capacity')} > 0))",
                "fullest",
            ),
        ),
        links.runbook("logins-refused"),
        thresholds=(Threshold(0.8, Colour.BAD),),
    ),
    Panel(
        "Password hashing",
        "One hash costs a core for a quarter of a second, at the lowest priority; more means that cores are short.",
        Unit.SECONDS,
        tuple(
            Target(promql.quantile(at, "telemed_auth_password_hash_duration_seconds"), name)
            for at, name in ((0.5, "p50"), (0.95, "p95"))
        ),
        links.runbook("logins-refused"),
    ),
)

_ANSWERING = (
    Panel(
        "Processes that answer",
        "By component, as Prometheus sees them when it asks for metrics.",
        Unit.NUMBER,
        (
            Target(
                # Of the day, so that a component of which nobody answers is 0 and not gone.
                f"sum by (namespace, job) ({promql.series('up')} and on (namespace, job)"
                f" group by (namespace, job) (last_over_time({promql.OURS}[1d])))",
                "{{job}}",
            ),
        ),
        links.runbook("target-down"),
        width=6,
    ),
    Panel(
        "Versions",
        "Builds that run; two for longer than a rollout means that it is stuck.",
        Unit.NUMBER,
        (Target(f"count by (namespace, version, revision) ({promql.OURS})", "Processes"),),
        links.runbook("target-down"),
        kind=Kind.TABLE,
        width=6,
        labels=("version", "revision"),
    ),
    Panel(
        "Asked from outside",
        "Share of the tries that succeeded, of each address; the way goes through the gateway, as that of users.",
        Unit.RATIO,
        (Target(promql.seen_from_outside(_TRIES), "{{probe}}"),),
        links.runbook("address-fails"),
        width=6,
        maximum=1,
    ),
    Panel(
        "Certificates",
        "Time until the first one in each address' chain ends.",
        Unit.SECONDS,
        (
            Target(
                promql.seen_from_outside(_CERTIFICATES),
                "Ends in",
                thresholds=(Threshold(7 * 86400, Colour.NOTICE), Threshold(21 * 86400, Colour.GOOD)),
            ),
        ),
        links.runbook("certificate-ends"),
        kind=Kind.TABLE,
        width=6,
        base=Colour.BAD,
        labels=("probe",),
    ),
)

BOARD = Board(
    "red",
    "Telemed: requests",
    "Rate, errors and duration, by service and route; logins; who answers at all.",
    (
        Row("Services", _SERVICES),
        Row("Duration", _DURATIONS),
        Row("Routes", _ROUTES),
        Row("At the door", _LOAD),
        Row("Logins", _LOGINS),
        Row("Who answers", _ANSWERING),
    ),
)
