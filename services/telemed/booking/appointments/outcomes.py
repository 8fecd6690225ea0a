"""How attempts to book end, counted: what is business, what is contention, and what is our failure."""

from collections.abc import Awaitable

from fastapi import Response

from telemed.booking.problems import PatientBusy, SlotContended, SlotStarted, SlotTaken
from telemed.kernel.problems import NotFound, OutcomeUnknown, Problem
from telemed.kernel.telemetry.metrics import Metrics

_OUTCOMES: dict[type[Problem], str] = {
    SlotTaken: "taken",
    SlotContended: "contended",
    PatientBusy: "patient_busy",
    SlotStarted: "started",
    NotFound: "missing",
    OutcomeUnknown: "unknown",
}


async def counted(metrics: Metrics, booking: Awaitable[Response]) -> Response:
    """Wait for the booking and count how it ended; what never got so far (no token, no sense) is no attempt."""
    outcome = "failed"  # whatever else comes: an error of ours, or a deadline
    try:
        response = await booking
        outcome = "replayed" if "Idempotency-Replayed" in response.headers else "booked"
    except Problem as problem:
        outcome = outcome_of(problem)
        raise
    finally:
        metrics.bookings.labels(outcome).inc()
    return response


def outcome_of(problem: Problem) -> str:
    """Give the word for a booking that ended with this problem."""
    return _OUTCOMES.get(type(problem)) or ("failed" if problem.status >= 500 else "refused")
