"""Faults put into a running platform, and who is called: how soon, for what, and whether it ends."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from observability.look.receiver import Call
from observability.look.runbooks import page_of, queries_of, silent
from observability.look.stack import Stack
from observability.look.table import Fault
from observability.look.traffic import Traffic

# The windows of a page must forget the fault: five minutes for the short one, if nothing else was there before.
OVER_WITHIN_SECONDS = 900.0
# Long windows are recorded once a minute: what is over may begin again when they have been.
_SETTLED_SECONDS = 90.0
_LOOK_SECONDS = 1.0
_TOLD_EVERY_SECONDS = 15.0
_AVAILABILITY_BUDGET = 0.0005


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. Times are seconds, from its beginning and from its end; None: it did not come.

    *also* are pages that came besides and may; *others* those that may not; *tickets* whatever came as a ticket.
    *called_again*: how often the expected alert was over and came back before it was over for good. *runbook*: the
    alert's page; *pasted*: how many queries it has; *silent*: those that said nothing while the fault was there.
    """

    fault: str
    what: str
    expected: str
    receiver: str
    called_after_seconds: float | None
    also: tuple[str, ...]
    others: tuple[str, ...]
    tickets: tuple[str, ...]
    over_after_seconds: float | None
    must_end: bool = True
    called_again: int = 0
    runbook: str = ""
    pasted: int = 0
    silent: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Tell whether the right one was called in time and once, nobody else was, and it ended."""
        ended = self.over_after_seconds is not None or not self.must_end
        return self.called_after_seconds is not None and not (self.called_again or self.others) and ended


@dataclass
class Watch:
    """Looks at a stack while a fault goes its way; *say* prints."""

    stack: Stack
    traffic: Traffic
    say: Callable[[str], None]

    async def suffer(self, fault: Fault) -> Outcome:
        """Put the fault in until somebody is called, take it away, and wait until that is over."""
        begun = time.monotonic()
        self.say(f"FAULT: {fault.what}")
        page = page_of(fault.expected)
        queries = queries_of(page)
        async with contextlib.AsyncExitStack() as damage:
            await damage.enter_async_context(fault.damage(self.stack))
            called, gone = await self._until_called(fault, begun, damage)
            quiet = await asyncio.to_thread(silent, queries, self.stack.ask)
            self.say(f"its runbook {page.stem}: {len(queries) - len(quiet)} of {len(queries)} queries say something")
            await self._until(begun + fault.lasts_seconds - time.monotonic(), lambda: None)
        if gone is None:
            self.say("the fault is taken away")
        ended, over = gone or time.monotonic(), None
        if called is not None and fault.ends:
            over = await self._until(
                OVER_WITHIN_SECONDS, lambda: over_since(self._courses(fault, begun), time.monotonic())
            )
            if over is not None:
                self.say(f"over for good {over - ended:.0f} s after the fault")
        outcome = self._outcome(fault, begun, _rounded(called, begun), _rounded(over, ended))
        return replace(outcome, runbook=page.stem, pasted=len(queries), silent=quiet)

    async def _until_called(
        self, fault: Fault, begun: float, damage: contextlib.AsyncExitStack
    ) -> tuple[float | None, float | None]:
        """Give the instants of the call and of the fault's end, if that came first; None: it did not come."""
        gone = None
        called = await self._until(
            min(fault.within_seconds, fault.gone_after_seconds), lambda: self._called(fault, begun)
        )
        if called is None and fault.gone_after_seconds < fault.within_seconds:
            await damage.aclose()
            gone = time.monotonic()
            self.say("the fault is gone")
            left = begun + fault.within_seconds - gone
            called = await self._until(left, lambda: self._called(fault, begun))
        after = "NOBODY was called" if called is None else f"called after {called - begun:.0f} s"
        self.say(f"{after}: {fault.expected}")
        return called, gone

    def _outcome(self, fault: Fault, begun: float, called_after: float | None, over_after: float | None) -> Outcome:
        pages, tickets = (
            {call.alert for call in self.stack.calls.since(begun, receiver)} - {fault.expected}
            for receiver in ("page", "ticket")
        )
        return Outcome(
            fault.name,
            fault.what,
            fault.expected,
            fault.receiver,
            called_after_seconds=called_after,
            also=tuple(sorted(pages & fault.allowed)),
            others=tuple(sorted(pages - fault.allowed)),
            tickets=tuple(sorted(tickets)),
            over_after_seconds=over_after,
            must_end=fault.ends,
            called_again=sum(comebacks(course) for course in self._courses(fault, begun)),
        )

    async def state(self) -> str:
        """Say how things stand, in one line."""
        ratio = await asyncio.to_thread(self.stack.value, _FAILED)
        firing, pending = [await asyncio.to_thread(self.stack.alerts, state) for state in ("firing", "pending")]
        burn = (ratio or 0) / _AVAILABILITY_BUDGET
        return (
            f"{sum(self.traffic.answers.values())} requests, {100 * (ratio or 0):.2f} % failed in 5 minutes"
            f" ({burn:.0f} times what the budget allows)"
            + "".join(
                f"; {state}: {', '.join(sorted(alerts))}"
                for state, alerts in (("pending", pending - firing), ("firing", firing))
                if alerts
            )
        )

    async def _until(self, within_seconds: float, has_come: Callable[[], float | None]) -> float | None:
        """Look until it has come, and give the instant; None if it has not come in time."""
        since = told = time.monotonic()
        while time.monotonic() - since < within_seconds:
            at = has_come()
            if at is not None:
                return at
            if time.monotonic() - told >= _TOLD_EVERY_SECONDS:
                told = time.monotonic()
                self.say(await self.state())
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    def _courses(self, fault: Fault, since: float) -> list[list[Call]]:
        """Give what was told of the expected alert, for each pod or whatever it is told of by itself."""
        courses: dict[str, list[Call]] = {}
        for call in self.stack.calls.all:
            if call.at >= since and call.receiver == fault.receiver and call.alert == fault.expected:
                courses.setdefault(call.of, []).append(call)
        return list(courses.values())

    def _called(self, fault: Fault, since: float) -> float | None:
        return min((course[0].at for course in self._courses(fault, since)), default=None)


def over_since(courses: Sequence[Sequence[Call]], now: float) -> float | None:
    """Give the instant since which all of it is over, once it has stayed so."""
    last = [course[-1] for course in courses]
    over = max(call.at for call in last)
    is_over = not any(call.is_firing for call in last) and now - over > _SETTLED_SECONDS
    return over if is_over else None


def comebacks(course: Sequence[Call]) -> int:
    """Count how often it fired after it had been over."""
    return sum(now.is_firing and not before.is_firing for before, now in pairwise(course))


def _rounded(at: float | None, since: float) -> float | None:
    return None if at is None else round(at - since, 1)


_FAILED = (
    'sum(rate(telemed_http_requests_total{traffic="user",status=~"5.."}[5m]))'
    ' / sum(rate(telemed_http_requests_total{traffic="user"}[5m]))'
)
