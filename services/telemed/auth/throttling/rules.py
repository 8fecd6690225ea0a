"""How many wrong passwords are too many. Pure.

A bucket counts failures as time: each adds *one_more_every* to the instant at which all of them are forgotten. So it
empties by itself, a block is never longer than one such step, and one instant is all that is stored (the generic cell
rate algorithm of ITU-T I.371).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Limit:
    """*failures* at once, then one more each *one_more_every*."""

    failures: int
    one_more_every: timedelta


# One account from one address: what a person who has forgotten which password it was may try.
PAIR = Limit(10, timedelta(minutes=1))
# One account from all addresses it never logged in from: many machines that guess at one person.
ELSEWHERE = Limit(30, timedelta(minutes=2))
# One address, all accounts it does not know: one machine that tries many people. Generous, because a clinic's staff
# share an address; who has logged in from there before is not counted at all.
ADDRESS = Limit(100, timedelta(seconds=3))


def wait_before_next(limit: Limit, clears_at: datetime, *, now: datetime) -> timedelta:
    """Say how long to wait before another attempt; nothing if one may be made now."""
    return max(_NOTHING, clears_at - now - (limit.failures - 1) * limit.one_more_every)


def after_failure(limit: Limit, clears_at: datetime, *, now: datetime) -> datetime:
    """Count one more."""
    return max(clears_at, now) + limit.one_more_every


def after_success(limit: Limit, clears_at: datetime) -> datetime:
    """Take one back that turned out to be no failure."""
    return clears_at - limit.one_more_every
