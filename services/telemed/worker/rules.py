"""Decisions about repeating: pure, randomness comes in as an argument."""

from datetime import datetime, timedelta

# With the pauses below, twelve attempts span about forty minutes: longer than a failover or a bad deployment that is
# rolled back, short enough that a person hears of a poison event on the same day.
MAX_ATTEMPTS = 12
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=10)

# How many events are told in one transaction. Its own cost is shared by so many that more would save little, and one of
# them that fails costs the others a try each.
GROUP_OF = 50

# How long a group may keep its subscribers busy, and how long one event alone. Both and the bounds of their commits end
# before a lease does, so that of a group which fails at the last moment each event is tried alone under the same lease;
# and an event is delivered by two workers at once only when one of them was frozen. Then handled_events decides.
GROUP_BOUND = timedelta(seconds=10)
DELIVERY_BOUND = timedelta(seconds=30)
COMMIT_BOUND = timedelta(seconds=8)  # what `kernel/database.py` gives to a commit; a test compares
LEASE = timedelta(seconds=60)

# A job that fails comes back within this time after its cause is gone, and asks a dead database no more often.
_LONGEST_JOB_PAUSE = timedelta(seconds=15)


def retry_pause(attempts: int, *, chance: float) -> timedelta:
    """Give the time until an event is tried again after its *attempts*-th failure; *chance* lies in [0, 1).

    Doubles from a second to ten minutes; between half and all of that, so that events which failed together do not
    come back together.
    """
    doubled = _FIRST_PAUSE * float(2 ** min(attempts - 1, 20))
    return min(doubled, _LONGEST_PAUSE) * (0.5 + chance / 2)


def is_worn_out(attempts: int) -> bool:
    """Tell whether an event that failed *attempts* times is to be parked."""
    return attempts >= MAX_ATTEMPTS


def has_time(bound: timedelta, *, now: datetime, leased_until: datetime) -> bool:
    """Tell whether a delivery that may take until *bound* ends before the lease does, if it begins now."""
    return now + bound + COMMIT_BOUND <= leased_until


def job_pause(every: timedelta, *, failures: int, chance: float) -> timedelta:
    """Give the time until a job runs again, after so many failures in a row; *chance* lies in [0, 1).

    Spread by a tenth, so that several workers which started together do not ask together.
    """
    pause = every
    if failures:
        pause = max(every, min(timedelta(seconds=0.5) * float(2 ** min(failures, 20)), _LONGEST_JOB_PAUSE))
    return pause * (0.9 + chance / 5)
