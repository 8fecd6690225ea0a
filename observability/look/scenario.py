"""Faults put into a running platform, and who is called: how soon, for what, and whether it ends."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from observability.look.stack import Stack
from observability.look.traffic import Traffic

# With twenty times the budget's rate burning, a page is a matter of seconds; two minutes is what is promised.
CALLED_WITHIN_SECONDS = 120.0
# The windows of a page must forget the fault: five minutes for the short one, and the share of errors in half an hour
# must be below six times the budget.
OVER_WITHIN_SECONDS = 900.0
_LOOK_SECONDS = 2.0
_TOLD_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. *expected* is whom it calls for; *allowed* may be said besides."""

    name: str
    what: str
    begin: Callable[[Stack], AbstractContextManager[None]]
    expected: str
    allowed: frozenset[str] = frozenset()
    within_seconds: float = CALLED_WITHIN_SECONDS


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. Times are seconds; None: it did not come."""

    fault: str
    expected: str
    called_after_seconds: float | None
    others: tuple[str, ...]
    over_after_seconds: float | None

    @property
    def held(self) -> bool:
        """Tell whether the right one was called in time, nobody else was, and it ended."""
        return self.called_after_seconds is not None and not self.others and self.over_after_seconds is not None


def _injected(fault: str) -> Callable[[Stack], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def begin(stack: Stack):  # type: ignore[no-untyped-def]  # a generator of nothing
        stack.inject(fault)
        try:
            yield
        finally:
            stack.inject("")

    return begin


def _frozen(part: str) -> Callable[[Stack], AbstractContextManager[None]]:
    return lambda stack: stack.frozen(part)


# A busy machine is slow, and then these are right; what is asked here is who is called for the fault.
_OF_SLOWNESS = frozenset(
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
    _injected("errors 0.05"),
    "TelemedAvailabilityBurnsFast",
    frozenset({"TelemedBookingSuccessBurnsFast"}) | _OF_SLOWNESS,  # bookings fail with the rest
)
FAULTS = {
    fault.name: fault
    for fault in (
        ERRORS,
        Fault(
            "slow",
            "half of the requests take 0.7 s longer",
            _injected("slow 0.5 0.7"),
            "TelemedReadsLatencyP95GuardFast",
            _OF_SLOWNESS,
            within_seconds=300.0,
        ),
        Fault(
            "worker", "the worker hangs", _frozen("worker"), "TelemedComponentDown", _OF_SLOWNESS, within_seconds=240.0
        ),
        Fault("primary", "the database hangs", _frozen("postgres"), "TelemedPrimaryLost", _OF_SLOWNESS),
    )
}


async def suffer(stack: Stack, traffic: Traffic, fault: Fault, say: Callable[[str], None]) -> Outcome:
    """Put the fault in until somebody is called, take it away, and wait until that is over."""
    begun = time.monotonic()
    say(f"now: {fault.what}")
    with fault.begin(stack):
        called = await _until(stack, traffic, say, begun, fault.within_seconds, lambda: _told(stack, fault, begun))
    if called is None:
        return Outcome(fault.name, fault.expected, None, _others(stack, fault, begun), None)
    say(f"CALLED after {called:.0f} s: {fault.expected}. The fault is taken away.")
    ended = time.monotonic()
    over = await _until(stack, traffic, say, ended, OVER_WITHIN_SECONDS, lambda: _over(stack, fault, ended))
    if over is not None:
        say(f"OVER {over:.0f} s after the fault")
    return Outcome(fault.name, fault.expected, called, _others(stack, fault, begun), over)


async def _until(
    stack: Stack,
    traffic: Traffic,
    say: Callable[[str], None],
    since: float,
    within_seconds: float,
    has_come: Callable[[], float | None],
) -> float | None:
    """Look until it has come, and give the seconds since; None if it has not come in time."""
    told = since
    while time.monotonic() - since < within_seconds:
        at = has_come()
        if at is not None:
            return at - since
        if time.monotonic() - told >= _TOLD_EVERY_SECONDS:
            told = time.monotonic()
            say(await asyncio.to_thread(state, stack, traffic))
        await asyncio.sleep(_LOOK_SECONDS)
    return None


def state(stack: Stack, traffic: Traffic) -> str:
    """Say how things stand, in one line."""
    ratio = stack.value('telemed:slo_error:ratio_rate5m{slo="availability"}') or stack.value(_FAILED)
    firing = ", ".join(sorted(stack.firing())) or "nothing"
    asked = sum(traffic.answers.values())
    return f"{asked} requests so far, {100 * (ratio or 0):.2f} % failed in 5 minutes; firing: {firing}"


_FAILED = (
    'sum(rate(telemed_http_requests_total{traffic="user",status=~"5.."}[5m]))'
    ' / sum(rate(telemed_http_requests_total{traffic="user"}[5m]))'
)


def _told(stack: Stack, fault: Fault, since: float) -> float | None:
    return next((call.at for call in stack.calls.since(since, "page") if call.alert == fault.expected), None)


def _over(stack: Stack, fault: Fault, since: float) -> float | None:
    ended = stack.calls.since(since, "page", is_firing=False)
    return next((call.at for call in ended if call.alert == fault.expected), None)


def _others(stack: Stack, fault: Fault, since: float) -> tuple[str, ...]:
    pages = {call.alert for call in stack.calls.since(since, "page")}
    return tuple(sorted(pages - fault.allowed - {fault.expected}))
