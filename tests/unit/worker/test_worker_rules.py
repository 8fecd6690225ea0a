"""When things are tried again."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from telemed.kernel.database import COMMIT_TIMEOUT_SECONDS
from telemed.worker.rules import (
    COMMIT_BOUND,
    DELIVERY_BOUND,
    GROUP_BOUND,
    LEASE,
    MAX_ATTEMPTS,
    has_time,
    is_worn_out,
    job_pause,
    retry_pause,
)

chances = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), chances)
def test_the_pause_of_an_event_stays_within_bounds(attempts: int, chance: float) -> None:
    """At least half a second, at most ten minutes."""
    assert timedelta(seconds=0.5) <= retry_pause(attempts, chance=chance) <= timedelta(minutes=10)


@given(st.integers(1, 100), chances)
def test_the_pause_of_an_event_does_not_shrink(attempts: int, chance: float) -> None:
    """With the same luck."""
    assert retry_pause(attempts, chance=chance) <= retry_pause(attempts + 1, chance=chance)


def test_all_attempts_together_outlast_a_failover() -> None:
    """At least a quarter of an hour even with the shortest pauses, at most an hour with the longest."""
    shortest = sum((retry_pause(n, chance=0.0) for n in range(1, MAX_ATTEMPTS)), timedelta())
    longest = sum((retry_pause(n, chance=1.0) for n in range(1, MAX_ATTEMPTS)), timedelta())
    assert timedelta(minutes=10) <= shortest
    assert longest <= timedelta(hours=1)


def test_an_event_is_worn_out_after_the_last_attempt() -> None:
    """Not before."""
    assert [is_worn_out(n) for n in (1, MAX_ATTEMPTS - 1, MAX_ATTEMPTS)] == [False, False, True]


def test_a_group_and_each_of_its_events_alone_end_before_the_lease() -> None:
    """With the longest commit on top of both."""
    assert GROUP_BOUND + COMMIT_BOUND + DELIVERY_BOUND + COMMIT_BOUND < LEASE
    assert timedelta(seconds=COMMIT_TIMEOUT_SECONDS) == COMMIT_BOUND


def test_a_delivery_begins_only_if_it_ends_before_the_lease() -> None:
    """At the last instant and after it."""
    bound = timedelta(seconds=30)
    now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    assert has_time(bound, now=now, leased_until=now + bound + COMMIT_BOUND)
    assert not has_time(bound, now=now + timedelta.resolution, leased_until=now + bound + COMMIT_BOUND)


@given(st.integers(0, 10_000), chances)
def test_a_failing_job_pauses_longer_but_comes_back_soon(failures: int, chance: float) -> None:
    """Neither a busy loop nor an hour of silence."""
    pause = job_pause(timedelta(seconds=0.5), failures=failures, chance=chance)
    assert timedelta(seconds=0.4) <= pause <= timedelta(seconds=17)


@given(st.integers(0, 10_000), chances)
def test_a_rare_job_stays_rare_when_it_fails(failures: int, chance: float) -> None:
    """Its own pause is the least."""
    assert job_pause(timedelta(minutes=10), failures=failures, chance=chance) >= timedelta(minutes=9)
