"""Decisions about repeating: pure, randomness comes in as an argument."""

from datetime import timedelta

# With the pauses below, twelve attempts span about forty minutes: longer than a failover or a bad deployment that is
# rolled back, short enough that a person hears of a poison event on the same day.
MAX_ATTEMPTS = 12
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=10)

# How long one event may keep its subscribers busy. With the bound of a commit on top it ends before the lease does, so
# an event is delivered by two workers at once only when one of them was frozen; then handled_events decides.
DELIVERY_BOUND = timedelta(seconds=30)
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


def job_pause(every: timedelta, *, failures: int, chance: float) -> timedelta:
    """Give the time until a job runs again, after so many failures in a row; *chance* lies in [0, 1).

    Spread by a tenth, so that several workers which started together do not ask together.
    """
    pause = every
    if failures:
        pause = max(every, min(timedelta(seconds=0.5) * float(2 ** min(failures, 20)), _LONGEST_JOB_PAUSE))
    return pause * (0.9 + chance / 5)
