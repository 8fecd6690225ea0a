"""What the platform is for: found slots, booked appointments, held visits; and whether its promises are kept."""

from observability.boards.model import Board, Colour, Panel, Row, Target, Threshold, Unit
from observability.boards.panels import INVARIANTS, number

from observability.boards import links, promql

ATTEMPTS = "telemed_booking_attempts_total"
REQUESTS = "telemed_http_requests_total"
_WON = 'outcome=~"booked|replayed"'
_LOST = 'outcome=~"taken|contended|patient_busy"'
_UNKNOWN = 'outcome="unknown"'
_DOUBLE = 'invariant=~"doctor_double_booked|patient_double_booked"'
_JOURNEYS = f"60 * {promql.rate('telemed_probe_journeys_total', by=('outcome',))}"
_MOVES = {
    "cancelled": "/booking/appointments/{appointment_id}/cancel",
    "rescheduled": "/booking/appointments/{appointment_id}/reschedule",
}
_VISITS = {
    "started": "/consultation/{id}/start",
    "completed": "/consultation/{id}/complete",
    "no-show": "/consultation/{id}/no-show",
    "prescribed": "/consultation/{id}/prescription",
}


def _done(method: str, route: str) -> tuple[str, ...]:
    """Pick what users did by a route, and succeeded."""
    return (f'method="{method}"', f'route="{route}"', 'status=~"2.."', promql.USERS)


_SEARCHES = _done("GET", "/booking/slots/search")
_BOOKINGS = _done("POST", "/booking/slots/book")


def _steps(routes: dict[str, str]) -> tuple[Target, ...]:
    return tuple(Target(f"60 * {promql.rate(REQUESTS, *_done('POST', route))}", name) for name, route in routes.items())


_SHOWN_TIME = (
    number(
        "Searches",
        "Answered in the time that is shown, synthetic journeys not counted.",
        Unit.NUMBER,
        promql.increase(REQUESTS, *_SEARCHES),
        links.RED,
        decimals=0,
    ),
    number(
        "Bookings",
        "Acknowledged in the time that is shown, repeated replies among them.",
        Unit.NUMBER,
        promql.increase(REQUESTS, *_BOOKINGS),
        links.RED,
        decimals=0,
    ),
    number(
        "Booked per search",
        "Bookings by searches, in the time that is shown. A fall: people do not find, or cannot book.",
        Unit.RATIO,
        promql.share(promql.increase(REQUESTS, *_BOOKINGS), promql.increase(REQUESTS, *_SEARCHES)),
        links.RED,
        decimals=1,
    ),
    number(
        "Outcome unknown",
        "Bookings whose COMMIT lost its connection: each is one person who does not know. Look at them one by one.",
        Unit.NUMBER,
        promql.increase(ATTEMPTS, _UNKNOWN),
        links.runbook("commit-unknown"),
        thresholds=(Threshold(0.5, Colour.BAD),),
        decimals=0,
    ),
    number(
        "Double bookings",
        "Overlapping appointments of one person, as the worker's queries find them. The first promise: 0.",
        Unit.NUMBER,
        f"sum by (namespace) (max by (namespace, invariant) "
        f"({promql.series('telemed_invariant_violations', _DOUBLE)}))",
        links.runbook("double-booked"),
        thresholds=(Threshold(1, Colour.BAD),),
        decimals=0,
    ),
    number(
        "Last journey",
        "How long ago the synthetic patient last booked and cancelled.",
        Unit.SECONDS,
        promql.seen_from_outside(promql.age("telemed_probe_succeeded_timestamp_seconds")),
        links.runbook("journeys-fail"),
        thresholds=(Threshold(600, Colour.BAD),),
        decimals=0,
    ),
)

_FUNNEL = (
    Panel(
        "Searches",
        "Answered searches of users, a minute.",
        Unit.PER_MINUTE,
        (Target(f"60 * {promql.rate(REQUESTS, *_SEARCHES)}", "searches"),),
        links.RED,
    ),
    Panel(
        "Attempts to book",
        "By outcome, a minute; synthetic journeys are among them. Taken: somebody was faster."
        " Contended: the lock was not had in time.",
        Unit.PER_MINUTE,
        (Target(f"60 * {promql.rate(ATTEMPTS, by=('outcome',))} > 0", "{{outcome}}"),),
        links.runbook("commit-unknown"),
        stacked=True,
    ),
    Panel(
        "Booked per search",
        "Bookings by searches. It falls in a rush for few slots, and when searches show what cannot be had.",
        Unit.RATIO,
        (
            Target(
                promql.share(promql.rate(REQUESTS, *_BOOKINGS), promql.rate(REQUESTS, *_SEARCHES)), "booked per search"
            ),
        ),
        links.RED,
    ),
)

_CONTENTION = (
    Panel(
        "Attempts that lost",
        "Share that found the slot taken or locked, or the patient busy. High in a rush is right;"
        " high at night is a stale search or a script.",
        Unit.RATIO,
        (
            Target(promql.share(promql.rate(ATTEMPTS, _LOST), promql.rate(ATTEMPTS)), "lost"),
            Target(promql.share(promql.rate(ATTEMPTS, _WON), promql.rate(ATTEMPTS)), "won"),
        ),
        links.DATA,
        maximum=1,
    ),
    Panel(
        "Wait for the slot's lock",
        "How long attempts waited for the row of their slot; the waiting one holds a connection.",
        Unit.SECONDS,
        tuple(
            Target(promql.quantile(at, "telemed_booking_lock_wait_seconds"), name)
            for at, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        links.runbook("pool-waiting"),
    ),
    Panel(
        "Duration of a booking",
        "Of those that were booked, from the first byte to the last. The line is the objective of writes.",
        Unit.SECONDS,
        tuple(
            Target(
                promql.quantile(
                    at,
                    "telemed_http_request_duration_seconds",
                    'route="/booking/slots/book"',
                    'status_class="2xx"',
                    promql.USERS,
                ),
                name,
                exemplars=True,
            )
            for at, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        links.SLO,
        thresholds=(Threshold(0.5, Colour.BAD),),
    ),
)

_AFTERWARDS = (
    Panel(
        "Appointments given back or moved",
        "A minute, of users.",
        Unit.PER_MINUTE,
        _steps(_MOVES),
        links.RED,
    ),
    Panel(
        "Visits",
        "Started, completed, missed by the patient, and prescriptions issued: a minute.",
        Unit.PER_MINUTE,
        _steps(_VISITS),
        links.RED,
    ),
    Panel(
        "Logins",
        "By outcome, a minute. Without logins there are no new bookings half an hour later.",
        Unit.PER_MINUTE,
        (Target(f"60 * {promql.rate('telemed_auth_logins_total', by=('outcome',))}", "{{outcome}}"),),
        links.runbook("logins-refused"),
    ),
)

_PROMISES = (
    INVARIANTS,
    Panel(
        "Synthetic journeys",
        "A labelled patient books and cancels, from outside, for ever; no part of the users' numbers.",
        Unit.PER_MINUTE,
        (Target(promql.seen_from_outside(_JOURNEYS), "{{outcome}}"),),
        links.runbook("journeys-fail"),
    ),
    Panel(
        "Steps of the journey, p95",
        "What a patient outside waits for, the way through the gateway included.",
        Unit.SECONDS,
        (
            Target(
                promql.seen_from_outside(
                    promql.quantile(0.95, "telemed_probe_step_duration_seconds", by=("step",), window="15m")
                ),
                "{{step}}",
            ),
        ),
        links.runbook("journeys-fail"),
    ),
)

BOARD = Board(
    "booking",
    "Telemed: booking",
    "Searches, bookings and visits; who lost a race; and whether the promises hold.",
    (
        Row("In the time that is shown", _SHOWN_TIME),
        Row("From search to booking", _FUNNEL),
        Row("Races", _CONTENTION),
        Row("What follows", _AFTERWARDS),
        Row("Promises", _PROMISES),
    ),
    variables=("namespace",),
)
