"""How failures are counted, block, and are forgotten."""

from datetime import UTC, datetime, timedelta

import pytest

from telemed.auth.throttling.rules import (
    ADDRESS,
    ELSEWHERE,
    PAIR,
    Limit,
    after_failure,
    after_success,
    wait_before_next,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
LIMIT = Limit(3, timedelta(minutes=1))


def failures(limit: Limit, count: int, *, now: datetime = NOW) -> datetime:
    clears_at = now
    for _ in range(count):
        clears_at = after_failure(limit, clears_at, now=now)
    return clears_at


def test_as_many_failures_as_the_limit_says_are_free() -> None:
    """The limit's count goes through at once, the next one waits."""
    assert wait_before_next(LIMIT, failures(LIMIT, 2), now=NOW) == timedelta(0)
    assert wait_before_next(LIMIT, failures(LIMIT, 3), now=NOW) == timedelta(minutes=1)


def test_a_block_ends_by_itself() -> None:
    """After one step there is one more attempt; after all of them it is as if nothing had been."""
    clears_at = failures(LIMIT, 3)
    assert wait_before_next(LIMIT, clears_at, now=NOW + timedelta(seconds=59)) == timedelta(seconds=1)
    assert wait_before_next(LIMIT, clears_at, now=NOW + timedelta(minutes=1)) == timedelta(0)
    assert clears_at == NOW + timedelta(minutes=3)


def test_a_success_leaves_no_trace() -> None:
    """Counted and taken back is not counted."""
    before = failures(LIMIT, 2)
    assert after_success(LIMIT, after_failure(LIMIT, before, now=NOW)) == before


@pytest.mark.parametrize("limit", [PAIR, ELSEWHERE, ADDRESS])
def test_no_block_is_longer_than_two_minutes(limit: Limit) -> None:
    """Whoever is blocked may try again soon, however many attempts were refused meanwhile."""
    assert wait_before_next(limit, failures(limit, limit.failures), now=NOW) <= timedelta(minutes=2)
