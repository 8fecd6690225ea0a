"""Runs what the services declare as invariants, in the worker's place and with its rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from telemed.booking.invariants import JOBS as BOOKING
from telemed.consultation.invariants import JOBS as CONSULTATION
from telemed.kernel.clock import Clock
from telemed.kernel.resources import Resources, open_resources
from telemed.kernel.settings import Settings

NAMES = (
    "doctor_double_booked",
    "patient_double_booked",
    "slot_disagrees",
    "booking_unrecorded",
    "booking_unannounced",
    "prescription_unfounded",
)


@asynccontextmanager
async def worker_of(settings: Settings, clock: Clock) -> AsyncIterator[Resources]:
    """Open the resources of a worker process."""
    async with open_resources(
        settings, constraint_problems={}, clock=clock, database=settings.worker_database
    ) as opened:
        yield opened


async def violations(worker: Resources) -> dict[str, float]:
    """Look once, and give how many violations of each invariant are shown, without those of which there are none."""
    for job in (*BOOKING, *CONSULTATION):
        assert await job.run(worker) == 0
    found = {name: shown(worker, name) for name in NAMES}
    assert None not in found.values()
    return {name: count for name, count in found.items() if count}


def shown(worker: Resources, name: str) -> float | None:
    """Give the gauge's value; None if there was no look yet."""
    return worker.metrics.registry.get_sample_value("telemed_invariant_violations", {"invariant": name})
