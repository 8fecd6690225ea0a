"""What is broken, and who must be called for it."""

import math
from dataclasses import dataclass

from observability.look.damage import (
    Damage,
    audit_altered,
    double_booked,
    frozen,
    held,
    injected,
    killed,
    logins_flooded,
    read_only,
    taken_away,
)

# At 5 % the budget burns a hundred times as fast as it may: a page is a matter of a minute, most of which it waits for
# a cause (`for`), and two minutes is what is promised.
CALLED_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    *expected* is the alert that must come, to *receiver* (`page` or `ticket`). *allowed* are pages that may come
    besides. *lasts_seconds*: the fault stays at least so long, to see who is called later. *gone_after_seconds*: it
    goes away by itself, whether somebody was called or not. *ends*: the alert is over when the fault is; otherwise it
    is remembered for an hour on purpose.
    """

    name: str
    what: str
    damage: Damage
    expected: str
    receiver: str = "page"
    allowed: frozenset[str] = frozenset()
    within_seconds: float = CALLED_WITHIN_SECONDS
    lasts_seconds: float = 0
    gone_after_seconds: float = math.inf
    ends: bool = True


# A busy machine is slow, and then these are right; what is asked here is who is called for the fault. Those that came
# are told by name all the same.
OF_SLOWNESS = frozenset(
    {
        "TelemedReadsLatencyBurnsFast",
        "TelemedReadsLatencyP95GuardFast",
        "TelemedWritesLatencyBurnsFast",
        "TelemedWritesLatencyP95GuardFast",
        "TelemedTailLatencyBurnsFast",
    }
)
ERRORS = Fault(
    "errors",
    "5 % of the requests fail",
    injected("errors 0.05"),
    "TelemedAvailabilityBurnsFast",
    allowed=OF_SLOWNESS,
    # The page's window of an hour is all there is of a platform that is minutes old, and no longer above 14.4 times the
    # budget when that is seven times as long as this.
    gone_after_seconds=30,
)
# Each page's `for` in full, and a minute for the rest: its windows, two looks of Prometheus, and the group's wait.
_TABLE = (
    ERRORS,
    Fault(
        "slow",
        "half of the requests take 0.7 s longer",
        injected("slow 0.5 0.7"),
        "TelemedReadsLatencyP95GuardFast",
        allowed=OF_SLOWNESS,
        within_seconds=300,
    ),
    Fault(
        "loop-blocked",
        "every event loop is blocked for 0.6 s of 0.8 s",
        injected("block 0.6 0.2"),
        "TelemedEventLoopsBlocked",
    ),
    Fault(
        "primary-hangs",
        "PostgreSQL hangs (SIGSTOP)",
        frozen("postgres"),
        "TelemedPrimaryLost",
        allowed=OF_SLOWNESS,
    ),
    Fault(
        "read-only",
        "PostgreSQL refuses writes (default_transaction_read_only)",
        read_only,
        "TelemedPrimaryLost",
    ),
    Fault(
        "slots-locked",
        "a transaction holds the table of slots",
        held("LOCK TABLE booking.slots"),
        "TelemedAvailabilityBurnsFast",
        lasts_seconds=240,
    ),
    Fault(
        "audit-locked",
        "a transaction holds the table of audit records",
        held("LOCK TABLE audit.records"),
        "TelemedAvailabilityBurnsFast",
        lasts_seconds=240,
    ),
    Fault(
        "slots-changed",
        "a transaction has changed every slot and does not end",
        held("UPDATE booking.slots SET version = version"),
        "TelemedBookingSuccessBurnsFast",  # who waits for a slot holds a connection, which others lack
        lasts_seconds=240,
    ),
    Fault(
        "bookings-fail",
        "every booking fails",
        injected("errors 1 /slots/book"),
        "TelemedBookingSuccessBurnsFast",
    ),
    Fault(
        "logins-flooded",
        "forty people a second want to log in",
        logins_flooded,
        "TelemedAvailabilityBurnsFast",
        lasts_seconds=300,
    ),
    Fault(
        "cache-hangs",
        "Valkey hangs (SIGSTOP)",
        frozen("valkey"),
        "TelemedCacheLeftAlone",
        receiver="ticket",
        allowed=OF_SLOWNESS,
        within_seconds=180,
        lasts_seconds=720,  # as long as the ticket would wait in production: until then nobody may be woken
    ),
    Fault(
        "api-killed",
        "one of two API processes is killed (SIGKILL)",
        killed("api-1"),
        "TelemedTargetDown",
        receiver="ticket",
        allowed=OF_SLOWNESS,
        within_seconds=180,
    ),
    Fault(
        "worker-killed",
        "the worker is killed (SIGKILL)",
        killed("worker-0"),
        "TelemedComponentDown",
        allowed=OF_SLOWNESS,
        within_seconds=180,
    ),
    Fault(
        "worker-hangs",
        "the worker hangs (SIGSTOP)",
        frozen("worker-0"),
        "TelemedComponentDown",
        allowed=OF_SLOWNESS,
        within_seconds=180,
    ),
    Fault(
        "worker-gone",
        "there is no worker any more, nor a target",
        taken_away("telemed-worker", "worker-0"),
        "TelemedWorkerGone",
        allowed=OF_SLOWNESS,
        within_seconds=360,
    ),
    Fault(
        "double-booked",
        "a superuser drops a constraint and books a taken slot",
        double_booked,
        "TelemedDoubleBooked",
        allowed=OF_SLOWNESS,
        within_seconds=420,  # the worker looks every five minutes
    ),
    # The last, as it goes on for an hour.
    Fault(
        "audit-altered",
        "a superuser alters an audit record",
        audit_altered,
        "TelemedAuditChainBroken",
        allowed=OF_SLOWNESS,
        ends=False,
    ),
)
FAULTS = {fault.name: fault for fault in _TABLE}
