"""What one does with slots: one function a use case, one transaction each."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.doctors.queries import doctor_by_id
from telemed.booking.problems import ProfileMissing, SlotBooked, overlap
from telemed.booking.slots import queries
from telemed.booking.slots.models import Slot, SlotStatus
from telemed.booking.slots.rules import require_publishable
from telemed.booking.slots.schemas import PublishSlots
from telemed.booking.slots.shelf import GoneSlot
from telemed.contracts.events import SLOT_WITHDRAWN, SLOTS_PUBLISHED
from telemed.contracts.ids import DoctorId, SlotId
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.ids import uuid7
from telemed.kernel.locks import lock_thing
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.problems import NotFound


@dataclass(frozen=True, slots=True)
class Publication:
    """Slots that became bookable, with the specialization under which they are found."""

    doctor_id: DoctorId
    specialization: str
    slots: list[Slot]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A slot that is gone for good, in the form in which search hears of it."""

    gone: GoneSlot
    back: None = None


async def publish_slots(session: AsyncSession, act: Act, wanted: PublishSlots) -> Publication:
    """Make all of the slots bookable, or none.

    Raises:
        InvalidRequest: a slot is over or has no sensible length.
        ProfileMissing: patients could not find the doctor.
        SlotOverlap: naming the slot that is in the way.
    """
    doctor_id = DoctorId(act.known_actor.user_id)
    require_publishable(wanted.slots, now=act.now)
    # Two overlapping batches at once would wait for each other's rows; one after the other, the second is refused.
    await lock_thing(session, "doctor", doctor_id)
    doctor = await doctor_by_id(session, doctor_id)
    if doctor is None:
        raise ProfileMissing("Write your entry in the directory first: PUT /booking/doctors/me.")
    starts, ends = [times.starts_at for times in wanted.slots], [times.ends_at for times in wanted.slots]
    in_the_way = await queries.overlapping_slot(session, doctor_id, starts, ends)
    if in_the_way is not None:
        raise overlap(*in_the_way)
    slots = [
        Slot(id=uuid7(), doctor_id=doctor_id, starts_at=t.starts_at, ends_at=t.ends_at, status=SlotStatus.OPEN.value)
        for t in wanted.slots
    ]
    session.add_all(slots)
    await session.flush()
    await append_audit(session, act, *(AuditEntry("slot.publish", "slot", slot.id) for slot in slots))
    payload = {"doctor_id": str(doctor_id), "slot_ids": [str(slot.id) for slot in slots]}
    await append_events(session, act, Event(SLOTS_PUBLISHED, slots[0].id, 1, payload))
    return Publication(doctor_id, doctor.specialization, slots)


async def withdraw_slot(direct: Direct, act: Act, slot_id: SlotId) -> Withdrawal:
    """Take back an open slot.

    Raises:
        NotFound: there is none, or it is another doctor's, or was withdrawn before.
        SlotBooked: somebody relies on it.
    """
    slot = await queries.lock_slot(direct, slot_id)
    if slot is None or slot.doctor_id != act.known_actor.user_id or slot.status == SlotStatus.WITHDRAWN:
        raise NotFound("You have no such slot.")
    if slot.status != SlotStatus.OPEN:
        raise SlotBooked
    await queries.set_slot_status(direct, slot.id, SlotStatus.WITHDRAWN)
    await append_audit(direct, act, AuditEntry("slot.withdraw", "slot", slot.id))
    await append_events(direct, act, Event(SLOT_WITHDRAWN, slot.id, slot.version, gone_payload(slot)))
    return Withdrawal(gone(slot))


def gone(slot: queries.SlotNow) -> GoneSlot:
    """Name the opening of the slot that ends with this transaction."""
    return GoneSlot(slot.id, slot.version, slot.doctor_id, slot.specialization)


def gone_payload(slot: queries.SlotNow) -> dict[str, str | int]:
    """Say the same in an event, for whoever has to finish what a dead process could not."""
    return {"slot_id": str(slot.id), "slot_version": slot.version, "doctor_id": str(slot.doctor_id)}
