"""Deadlines: how they are read, and what may still begin."""

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.support.settings import NOW

from telemed.kernel.clock import ManualClock
from telemed.kernel.deadline import Deadline, begin_commit, current_deadline, require_time, time_left
from telemed.kernel.http.deadlines import Countdown, Deadlines, read_instant
from telemed.kernel.problems import DeadlineExceeded, InvalidRequest, OutcomeUnknown, Problem


@pytest.fixture(autouse=True)
def no_deadline() -> Iterator[None]:
    """What a test sets ends with it."""
    token = current_deadline.set(None)
    yield
    current_deadline.reset(token)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795424405", 1795424405.0),
        ("1795424405.5", 1795424405.5),
        ("2026-11-23T08:00:00Z", NOW.timestamp()),
        ("2026-11-23t08:00:00.25z", NOW.timestamp() + 0.25),
        ("2026-11-23T13:30:00+05:30", NOW.timestamp()),
        ("2026-11-23T08:00:00.123456789Z", NOW.timestamp() + 0.123456),
    ],
)
def test_an_instant_is_read_in_both_forms(text: str, seconds: float) -> None:
    """RFC 3339 or Unix seconds."""
    assert read_instant(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "-1", "1e9", "nan", "inf", "0x10", "1_000", "1.", ".5", "999999999999", "٣"),
        *("2026-11-23", "2026-11-23T08:00:00", "2026-11-23 08:00:00Z", "2026-W48-1T08:00:00Z", "20261123T080000Z"),
        *("2026-02-30T08:00:00Z", "2026-11-23T08:00:60Z", "2026-11-23T08:00:00+25:00", "0000-01-01T00:00:00Z"),
        *("2026-11-23T08:00:00Z, 2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z\n"),
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    """422 that says which header."""
    with pytest.raises(InvalidRequest) as raised:
        read_instant(text)
    assert raised.value.extras.model_dump()["errors"][0]["loc"] == ["header", "X-Request-Deadline"]


def scope(method: str, *headers: bytes) -> dict[str, object]:
    """Give a request with these values of the header."""
    return {"type": "http", "method": method, "headers": [(b"x-request-deadline", value) for value in headers]}


@pytest.mark.parametrize(("wished", "given"), [(2.0, 2.0), (14.9, 14.9), (60.0, 15.0), (10_000_000.0, 15.0)])
def test_the_earlier_deadline_holds(wished: float, given: float) -> None:
    """A client may ask for less than the server gives, and not for more."""
    wish = str((NOW + timedelta(seconds=wished)).timestamp()).encode()
    deadline = Deadlines(15.0, ManualClock(NOW)).of(scope("GET", wish), wish)
    assert deadline.remaining() == pytest.approx(given, abs=1)


def test_without_a_wish_the_servers_own_holds() -> None:
    """Nothing runs for ever."""
    assert Deadlines(15.0, ManualClock(NOW)).of(scope("GET"), None).remaining() == pytest.approx(15, abs=1)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_one_that_has_passed_is_refused_at_once(method: str) -> None:
    """Nobody waits for the answer any more."""
    wish = str(NOW.timestamp()).encode()
    with pytest.raises(DeadlineExceeded):
        Deadlines(15.0, ManualClock(NOW)).of(scope(method, wish), wish)


def test_two_deadlines_are_refused() -> None:
    """Two parsers could choose two different ones."""
    with pytest.raises(InvalidRequest):
        Deadlines(15.0, ManualClock(NOW)).of(scope("GET", b"1", b"2"), b"2")


def test_without_a_deadline_everything_may_begin() -> None:
    """Jobs have none."""
    assert time_left() == math.inf
    require_time(1e9)
    begin_commit()


def test_nothing_begins_that_could_not_end_in_time() -> None:
    """A pause that is longer than what is left is not even begun."""
    current_deadline.set(Deadline(time.monotonic() + 5, writes=True))
    require_time(1.0)
    with pytest.raises(DeadlineExceeded):
        require_time(6.0)


def test_no_commit_begins_after_the_deadline() -> None:
    """The client was told, or will be, that nothing was done."""
    deadline = Deadline(time.monotonic() + 60, writes=True)
    current_deadline.set(deadline)
    deadline.has_passed = True
    with pytest.raises(DeadlineExceeded):
        begin_commit()
    assert not deadline.may_have_acted


def test_after_a_commit_has_begun_nobody_says_that_nothing_was_done() -> None:
    """Whether it took effect is not known; the key finds out."""
    deadline = Deadline(time.monotonic() + 60, writes=True)
    current_deadline.set(deadline)
    begin_commit()
    deadline.has_passed = True
    with pytest.raises(OutcomeUnknown):
        require_time()


def test_a_read_that_commits_its_trace_has_done_nothing() -> None:
    """A GET never answers `outcome-unknown`: it can simply be sent again."""
    deadline = Deadline(time.monotonic() + 60, writes=False)
    current_deadline.set(deadline)
    begin_commit()
    assert isinstance(deadline.problem(), DeadlineExceeded)


async def test_what_runs_is_cancelled_at_the_deadline() -> None:
    """It ends by itself, and nobody answers in its place."""
    answers: list[Problem] = []

    async def answer(problem: Problem) -> None:
        answers.append(problem)

    async def work() -> None:
        countdown = Countdown(deadline, answer)
        try:
            await asyncio.sleep(30)
        finally:
            countdown.stop()

    deadline = Deadline(time.monotonic() + 0.01, writes=True)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())
    assert deadline.has_passed
    assert not answers


async def test_what_cannot_end_is_answered_for() -> None:
    """A COMMIT goes on; its client learns at the deadline that the outcome is unknown."""
    answered: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()

    async def answer(problem: Problem) -> None:
        answered.set_result(problem)

    async def work() -> None:
        countdown = Countdown(deadline, answer)
        deadline.begin_commit()
        try:
            while not answered.done():
                try:
                    await asyncio.wait({answered})
                except asyncio.CancelledError:
                    continue
        finally:
            countdown.stop()

    deadline = Deadline(time.monotonic() + 0.01, writes=True)
    async with asyncio.timeout(5):
        await asyncio.create_task(work())
    assert isinstance(answered.result(), OutcomeUnknown)


async def test_what_ends_in_time_is_left_alone() -> None:
    """No timer outlives its request."""

    async def answer(_problem: Problem) -> None:
        raise AssertionError("answered twice")

    deadline = Deadline(time.monotonic() + 0.05, writes=True)
    Countdown(deadline, answer).stop()
    await asyncio.sleep(0.1)
    assert not deadline.has_passed
