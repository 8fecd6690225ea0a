"""What search is told when the success of a write is replayed.

The process that committed it may have died, or its client may have left, between the commit and the notes. The client
that hears of its success now must not find otherwise; and a replay does not know what the write changed, so the
doctor's pages are voided as a whole.
"""

import json
from collections.abc import Awaitable, Callable
from uuid import UUID

from telemed.booking.doctors.queries import doctor_by_id
from telemed.booking.slots.shelf import SlotShelf
from telemed.contracts.ids import DoctorId
from telemed.contracts.work import Work
from telemed.kernel.idempotency import Reply


def renews_callers_pages(work: Work) -> Callable[[Reply], Awaitable[None]]:
    """Void the pages of the caller, who is a doctor."""

    async def renew(_reply: Reply) -> None:
        if work.claims is not None:
            await _renew(work, work.claims.user_id)

    return renew


def renews_appointments_pages(work: Work) -> Callable[[Reply], Awaitable[None]]:
    """Void the pages of the doctor whose appointment the reply shows."""

    async def renew(reply: Reply) -> None:
        await _renew(work, UUID(json.loads(reply.body)["doctor_id"]))

    return renew


async def _renew(work: Work, doctor_id: UUID) -> None:
    doctor = await work.resources.db.read(doctor_by_id, DoctorId(doctor_id))
    if doctor is not None:
        await work.resources.part(SlotShelf).renew(doctor.id, doctor.specialization)
