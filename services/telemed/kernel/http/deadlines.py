"""Until when a request must be answered, by its client's word and ours; and what happens then."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from starlette.types import Scope

from telemed.kernel.clock import Clock
from telemed.kernel.deadline import Deadline
from telemed.kernel.problems import FieldError, InvalidRequest, Problem

HEADER = "X-Request-Deadline"
_HEADER = HEADER.lower().encode()
_UNIX_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# What runs is cancelled at the deadline and ends within milliseconds, unless it commits or its server does not answer
# the cancellation; then the client is told without it.
ANSWERED_WITHOUT_AFTER_SECONDS = 0.25


class Deadlines:
    """Gives each request its deadline: the client's, but never later than *within_seconds* from now."""

    def __init__(self, within_seconds: float, clock: Clock) -> None:
        self._within_seconds = within_seconds
        self._clock = clock

    def of(self, scope: Scope, wish: bytes | None) -> Deadline:
        """Give the request's deadline; *wish* is its header, if it has one.

        Raises:
            InvalidRequest: the header is there more than once, or is no instant.
            DeadlineExceeded: it has passed already.
        """
        seconds = self._within_seconds
        if wish is not None:
            if sum(name == _HEADER for name, _ in scope["headers"]) > 1:
                raise _refused("Send one deadline.", "repeated")
            seconds = min(seconds, read_instant(wish.decode("latin-1")) - self._clock.now().timestamp())
        deadline = Deadline(time.monotonic() + seconds, writes=scope["method"] not in _READS)
        if seconds <= 0:
            raise deadline.problem()
        return deadline


def read_instant(text: str) -> float:
    """Read an RFC 3339 instant or decimal Unix seconds, as Unix seconds.

    Raises:
        InvalidRequest: it is neither.
    """
    if _UNIX_SECONDS.fullmatch(text):
        return float(text)
    if _RFC_3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).timestamp()
        except (ValueError, OverflowError):  # the thirtieth of February; a year before any clock's
            pass
    raise _refused("Send an instant such as 2026-11-23T09:00:00Z, or Unix seconds.", "deadline")


def _refused(message: str, kind: str) -> InvalidRequest:
    return InvalidRequest(errors=[FieldError(loc=["header", HEADER], msg=message, type=kind)])


class Countdown:
    """Cancels the task that serves a request at its deadline; answers in its place if it does not end then."""

    def __init__(self, deadline: Deadline, answer_instead: Callable[[Problem], Awaitable[None]]) -> None:
        self._deadline = deadline
        self._answer_instead = answer_instead
        self._answering: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(deadline.at - time.monotonic(), self._strike)

    def stop(self) -> None:
        """Call when the task has ended what it did for the request."""
        self._timer.cancel()

    def _strike(self) -> None:
        assert self._task is not None  # noqa: S101 - made inside of a task
        self._deadline.has_passed = True
        self._task.cancel()
        self._timer = self._loop.call_later(ANSWERED_WITHOUT_AFTER_SECONDS, self._answer)

    def _answer(self) -> None:
        # Kept, because the loop itself holds tasks only weakly.
        self._answering = asyncio.ensure_future(self._answer_in_place())

    async def _answer_in_place(self) -> None:
        await self._answer_instead(self._deadline.problem())
