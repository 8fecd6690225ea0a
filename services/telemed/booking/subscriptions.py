"""What booking does when something happened: finishes what a dead process could not tell search, unlists doctors."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from telemed.booking.doctors.queries import note_listing, specializations_of
from telemed.booking.slots.shelf import GoneSlot, SlotShelf
from telemed.contracts import events
from telemed.contracts.ids import DoctorId
from telemed.contracts.roles import Role
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.direct import Direct
from telemed.kernel.outbox import OutboxEvent, Subscription
from telemed.kernel.resources import Resources


async def note_gone(resources: Resources, direct: Direct, told: Sequence[OutboxEvent]) -> None:
    """Write the notes about slots that are gone again, in case their processes died between commit and reply."""
    specializations = await _specializations(direct, told)
    gone = [_gone(event, specializations[_doctor_id(event)]) for event in told if _doctor_id(event) in specializations]
    if not gone:
        return
    try:
        await resources.part(SlotShelf).write_gone(gone)
    except CacheUnavailable:
        _retry_while_it_matters(resources, told)


async def renew_pages(resources: Resources, direct: Direct, told: Sequence[OutboxEvent]) -> None:
    """Void the pages of doctors whose slots or entries changed, of each once."""
    await _renew(resources, told, await _specializations(direct, told))


async def follow_role(resources: Resources, direct: Direct, told: Sequence[OutboxEvent]) -> None:
    """List a doctor's entry while its user is a doctor, and only then; void the pages that are of before."""
    changed: dict[DoctorId, str] = {}
    for event in told:
        doctor_id = DoctorId(UUID(event.payload["user_id"]))
        is_doctor = event.payload["role"] == Role.DOCTOR
        specialization = await note_listing(direct, doctor_id, is_listed=is_doctor)
        if specialization is not None:
            changed[doctor_id] = specialization
    await _renew(resources, told, changed)


async def _renew(resources: Resources, told: Sequence[OutboxEvent], doctors: Mapping[DoctorId, str]) -> None:
    try:
        for doctor_id, specialization in doctors.items():
            await resources.part(SlotShelf).write_renewal(doctor_id, specialization)
    except CacheUnavailable:
        _retry_while_it_matters(resources, told)


async def _specializations(direct: Direct, told: Sequence[OutboxEvent]) -> dict[DoctorId, str]:
    return await specializations_of(direct, {_doctor_id(event) for event in told})


def _gone(event: OutboxEvent, specialization: str) -> GoneSlot:
    slot_id, version = UUID(event.payload["slot_id"]), int(event.payload["slot_version"])
    return GoneSlot(slot_id, version, _doctor_id(event), specialization)


def _doctor_id(event: OutboxEvent) -> DoctorId:
    return DoctorId(UUID(event.payload["doctor_id"]))


def _retry_while_it_matters(resources: Resources, told: Sequence[OutboxEvent]) -> None:
    """Have the events delivered again as long as a page from before one of them can still be shown."""
    page_lives = timedelta(seconds=resources.settings.search_stale_seconds)
    if resources.clock.now() - max(event.occurred_at for event in told) < page_lives:
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
