"""What booking does when something happened: finishes what a dead process could not tell search, unlists doctors."""

from datetime import timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.doctors.queries import doctor_by_id, doctor_for_update
from telemed.booking.slots.shelf import GoneSlot, SlotShelf
from telemed.contracts import events
from telemed.contracts.ids import DoctorId
from telemed.contracts.roles import Role
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources


async def note_gone(resources: Resources, session: AsyncSession, event: OutboxEvent) -> None:
    """Write the note about a slot that is gone again, in case its process died between commit and reply."""
    doctor_id = UUID(event.payload["doctor_id"])
    doctor = await doctor_by_id(session, DoctorId(doctor_id))
    if doctor is None:
        return
    slot_id, version = UUID(event.payload["slot_id"]), int(event.payload["slot_version"])
    try:
        await resources.part(SlotShelf).write_gone([GoneSlot(slot_id, version, doctor_id, doctor.specialization)])
    except CacheUnavailable:
        _retry_while_it_matters(resources, event)


async def renew_pages(resources: Resources, session: AsyncSession, event: OutboxEvent) -> None:
    """Void the pages of a doctor whose slots or entry changed."""
    doctor = await doctor_by_id(session, DoctorId(UUID(event.payload["doctor_id"])))
    if doctor is None:
        return
    try:
        await resources.part(SlotShelf).write_renewal(doctor.id, doctor.specialization)
    except CacheUnavailable:
        _retry_while_it_matters(resources, event)


async def follow_role(resources: Resources, session: AsyncSession, event: OutboxEvent) -> None:
    """List a doctor's entry while its user is a doctor, and only then."""
    doctor = await doctor_for_update(session, UUID(event.payload["user_id"]))
    if doctor is None:
        return
    doctor.is_listed = event.payload["role"] == Role.DOCTOR
    await session.flush()
    await resources.part(SlotShelf).renew(doctor.id, doctor.specialization)


def _retry_while_it_matters(resources: Resources, event: OutboxEvent) -> None:
    """Have the event delivered again as long as a page from before it can still be shown."""
    page_lives = timedelta(seconds=resources.settings.search_stale_seconds)
    if resources.clock.now() - event.occurred_at < page_lives:
        raise CacheUnavailable("search has not heard of it yet")


SUBSCRIPTIONS = (
    Subscription("booking.search", events.APPOINTMENT_BOOKED, note_gone),
    Subscription("booking.search", events.SLOT_WITHDRAWN, note_gone),
    Subscription("booking.search", events.APPOINTMENT_CANCELLED, renew_pages),
    Subscription("booking.search", events.APPOINTMENT_RESCHEDULED, renew_pages),
    Subscription("booking.search", events.SLOTS_PUBLISHED, renew_pages),
    Subscription("booking.search", events.DOCTOR_CHANGED, renew_pages),
    Subscription("booking.directory", events.ROLE_CHANGED, follow_role),
)
