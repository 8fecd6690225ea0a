"""The breaker opens after failures in a row, lets single trials through, and closes with an answer."""

from datetime import timedelta

from telemed.kernel.cache.breaker import Breaker


class Watch:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def opened_breaker() -> tuple[Breaker, Watch]:
    watch = Watch()
    breaker = Breaker(opens_after=3, tries_every=timedelta(seconds=1), monotonic=watch)
    for _ in range(3):
        breaker.failed()
    return breaker, watch


def test_stays_closed_while_failures_do_not_come_in_a_row() -> None:
    """One lost packet now and then is no outage."""
    breaker = Breaker(opens_after=3)
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert not breaker.is_open
    assert breaker.may_try()


def test_opens_after_failures_in_a_row() -> None:
    """From then on nobody waits for a dead server."""
    breaker, _ = opened_breaker()
    assert breaker.is_open
    assert not any(breaker.may_try() for _ in range(100))


def test_lets_one_trial_through_per_period() -> None:
    """A thousand waiting requests are one question to the server."""
    breaker, watch = opened_breaker()
    for _ in range(5):
        watch.seconds += 1.3  # longer than the period with its jitter
        assert sum(breaker.may_try() for _ in range(1000)) == 1
        breaker.failed()


def test_closes_with_an_answer() -> None:
    """One good trial is enough."""
    breaker, watch = opened_breaker()
    watch.seconds += 1.3
    assert breaker.may_try()
    breaker.succeeded()
    assert not breaker.is_open
    assert all(breaker.may_try() for _ in range(10))


def test_processes_do_not_come_back_together() -> None:
    """The trials of many breakers that opened in the same instant are spread."""
    watch = Watch()
    breakers = [Breaker(opens_after=1, tries_every=timedelta(seconds=1), monotonic=watch) for _ in range(200)]
    for breaker in breakers:
        breaker.failed()
    watch.seconds += 1.0
    assert 50 < sum(breaker.may_try() for breaker in breakers) < 150
