"""Booking, cancelling and moving: one function a use case, one transaction each.

A slot is never booked twice because of two walls, each enough by itself: the slot's row lock, and the exclusion
constraints on booking.appointments (migration 0003).

Locks are taken in one order by everybody, so that no two wait for each other: patient, appointment, slots by id.

Booking is the hot path: it goes past the ORM, with its locks and writes in a function of the database (migration 0010,
docs/decisions/0026-booking-in-one-statement.md). What may be booked is decided here all the same.
"""

from dataclasses import dataclass, replace

from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.booking.appointments import queries
from telemed.booking.appointments.desk import Desk
from telemed.booking.appointments.queries import Booking, Sight, Wish
from telemed.booking.appointments.rules import ShownStatus, require_in_time, stored_as
from telemed.booking.appointments.schemas import AppointmentReply, BookSlot, MoveAppointment
from telemed.booking.problems import DifferentDoctor, PatientBusy, SlotContended
from telemed.booking.slots.models import SlotStatus
from telemed.booking.slots.operations import gone, gone_payload
from telemed.booking.slots.queries import SlotNow, lock_slot, set_slot_status
from telemed.booking.slots.rules import require_bookable
from telemed.booking.slots.shelf import GoneSlot
from telemed.contracts.appointments import (
    LOOK_AT_APPOINTMENT,
    LOOK_AT_APPOINTMENTS,
    AnyAppointment,
    Appointment,
    AppointmentStatus,
    LockedAppointment,
    appointment_in,
    appointments_in,
    get_appointment,
    lock_appointment,
    own_appointments,
    part_in,
    step,
    takes_part,
    write_step,
)
from telemed.contracts.events import APPOINTMENT_BOOKED, APPOINTMENT_CANCELLED, APPOINTMENT_RESCHEDULED
from telemed.contracts.ids import AppointmentId, PatientId, SlotId
from telemed.contracts.looks import Found, Look, Shown
from telemed.contracts.roles import Role
from telemed.contracts.work import Entry, MayRepeat, Written, rendered
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct, direct_of
from telemed.kernel.ids import uuid7
from telemed.kernel.locks import lock_thing
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.paging import Cursor, Page, page_of
from telemed.kernel.problems import KeyInProgress, NotFound

# How often one request meets another opening of its slot than it saw, before it is told to come again. The second time
# it holds the row already, so only a change of the caller's role or of the doctor's can come in between.
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Changed:
    """An appointment after its change, and what search must hear of: a slot that is gone, a slot that is back."""

    appointment: Appointment | LockedAppointment
    gone: GoneSlot | None = None
    back: GoneSlot | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """A fresh appointment, and the opening of its slot that is gone with it."""

    appointment: AppointmentReply
    gone: GoneSlot
    back: None = None


@dataclass(frozen=True, slots=True)
class Bookable:
    """A slot that this act may book, as far as could be seen."""

    act: Act
    slot: SlotNow


async def book_slot(desk: Desk, entry: Entry, wanted: BookSlot) -> Written[Booked]:
    """Give the slot to the patient who comes, or say why they cannot have it.

    Looks without a lock first; then writes under the locks of patient and row, if nothing has changed since. A second
    caller for either waits for this transaction.

    Raises:
        NotAuthenticated, Forbidden: who comes has no session any more, or is no patient.
        KeyInProgress, KeyReused: as `Once.claimed`.
        NotFound: there is no such slot, it was withdrawn, or its doctor is no longer one.
        SlotStarted: it begins at or before the act.
        SlotTaken: somebody has booked it.
        SlotContended: its row could not be had in time.
        PatientBusy: the patient has another appointment at this time (by constraint).
    """
    wish = Wish(entry, SlotId(wanted.slot_id))
    seen = _judged(await desk.look(wish), wish)
    # Whoever was refused, or has their reply already, has left with nothing but the look.
    return seen if isinstance(seen, Written) else await desk.transact(_book, wish, seen, wanted.reason)


async def cancel_appointment(direct: Direct, act: Act, appointment_id: AppointmentId) -> Changed:
    """Give the slot back; it is open again when this commits.

    Raises:
        NotFound: it is not the actor's.
        StepNotAllowed: naming the state that it is in.
        AppointmentBegun: a patient can no longer leave.
    """
    appointment = await _locked_own(direct, act, appointment_id, action="appointment.cancel")
    step(appointment, "cancel")
    require_in_time(part_in(appointment, act.known_actor), appointment.starts_at, now=act.now)
    await write_step(direct, appointment)
    slot = await _release(direct, appointment)
    await append_audit(direct, act, _entry("appointment.cancel", appointment))
    await append_events(direct, act, _event(APPOINTMENT_CANCELLED, appointment, slot_id=str(slot.id)))
    return Changed(appointment, back=gone(slot))


async def move_appointment(
    session: AsyncSession, act: Act, appointment_id: AppointmentId, wanted: MoveAppointment
) -> Changed:
    """Take another slot of the same doctor and give the old one back, both or neither.

    The old appointment stays as rescheduled, the new one has an id of its own.

    Raises:
        NotFound: the appointment is not the actor's, or there is no such slot.
        StepNotAllowed: naming the state that the appointment is in.
        AppointmentBegun: a patient can no longer leave.
        DifferentDoctor: the slot is another doctor's.
        SlotStarted, SlotTaken, SlotContended, PatientBusy: as when booking.
            A doctor who hears the last one leaves a record.
    """
    direct = direct_of(session)
    seen = await get_appointment(session, appointment_id)
    if seen is not None:
        await lock_thing(direct, "patient", seen.patient_id)
    appointment = await _locked_own(direct, act, appointment_id, action="appointment.reschedule")
    step(appointment, "reschedule")
    require_in_time(part_in(appointment, act.known_actor), appointment.starts_at, now=act.now)
    await write_step(direct, appointment)
    # Both rows in the order of their ids: two who exchange slots must not wait for each other.
    for slot_id in sorted({appointment.slot_id, wanted.slot_id}):
        await lock_slot(direct, SlotId(slot_id))
    # Once more: a statement that waited for a row has its doctor as they were before it waited.
    slot = await _locked_bookable(direct, act, SlotId(wanted.slot_id))
    if slot.doctor_id != appointment.doctor_id:
        raise DifferentDoctor
    await _require_free(direct, act, appointment, slot)
    released = await _release(direct, appointment)
    patient_id = PatientId(appointment.patient_id)
    successor = await _occupy(session, act, slot, patient_id=patient_id, reason=appointment.reason)
    await append_audit(
        session, act, _entry("appointment.reschedule", appointment), _entry("appointment.book", successor)
    )
    moved = _event(
        APPOINTMENT_RESCHEDULED, appointment, successor_id=str(successor.id), slot_id=str(appointment.slot_id)
    )
    await append_events(session, act, moved, _booked_event(successor, slot))
    return Changed(successor, gone=gone(slot), back=gone(released))


def read_appointment(appointment_id: AppointmentId) -> Look[AppointmentReply]:
    """Show one of the actor's own appointments.

    Raises:
        NotFound: it is not the actor's.
    """

    def judge(act: Act, rows: Found) -> Shown[AppointmentReply]:
        appointment = appointment_in(rows)
        if appointment is None or not takes_part(appointment, act.known_actor):
            raise _not_yours(appointment_id, appointment, action="appointment.read")
        return Shown(AppointmentReply.of(appointment), [_entry("appointment.read", appointment)])

    return Look(LOOK_AT_APPOINTMENT, (appointment_id,), judge)


def list_appointments(*, status: ShownStatus | None, after: Cursor | None, limit: int) -> Look[Page[AppointmentReply]]:
    """Show the actor's own appointments, latest first."""
    states = stored_as(status) if status is not None else ()

    def judge(_act: Act, rows: Found) -> Shown[Page[AppointmentReply]]:
        found = appointments_in(rows)
        page = page_of(found, limit, item=AppointmentReply.of, place=lambda one: Cursor(one.starts_at, one.id))
        return Shown(page, [_entry("appointment.read", appointment) for appointment in found[:limit]])

    return Look(LOOK_AT_APPOINTMENTS, own_appointments(states=states, after=after, limit=limit + 1), judge)


def theirs_still(appointment_id: AppointmentId, *, action: str) -> MayRepeat:
    """Give the rule by which a change is told again under its key: to one who takes part still (`Work.repeating`)."""

    async def require(transaction: AsyncSession | Direct, act: Act) -> None:
        await _locked_own(direct_of(transaction), act, appointment_id, action=action)

    return require


async def _book(direct: Direct, wish: Wish, seen: Bookable, reason: str | None) -> Written[Booked]:
    for _ in range(_LOOKS):
        booking, appointment = _booking(seen.slot, seen.act, reason)
        sight = await queries.book_slot(direct, wish.entry, seen.act, seen.slot, booking)
        if sight.is_booked:
            # As it was under the slot's lock, for which a change of the doctor's specialization waits.
            return Written(booking.reply, Booked(appointment, gone(sight.slot or seen.slot)))
        judged = _judged(sight, wish)
        if isinstance(judged, Written):
            return judged
        seen = judged
    raise SlotContended


def _judged(sight: Sight, wish: Wish) -> Bookable | Written[Booked]:
    """Say what a sight means: the slot may be booked, an earlier reply is to be given, or a problem is raised."""
    if not sight.is_claimed:
        raise KeyInProgress
    act, once = wish.entry.admit(sight.caller_role), wish.entry.once
    if once is not None and sight.reply is not None:
        return Written(once.replayed(sight.reply, sight.request_hash))
    return Bookable(act, _bookable(sight.slot, act))


def _bookable(slot: SlotNow | None, act: Act) -> SlotNow:
    if slot is None:
        raise NotFound("There is no such slot.")
    require_bookable(slot.status, slot.starts_at, now=act.now)
    if slot.doctor_role != Role.DOCTOR:
        raise NotFound("There is no such slot.")
    return slot


def _booking(slot: SlotNow, act: Act, reason: str | None) -> tuple[Booking, AppointmentReply]:
    """Make what is written and what is said, to the byte as it will be stored."""
    appointment = AppointmentReply(
        id=uuid7(),
        slot_id=slot.id,
        doctor_id=slot.doctor_id,
        patient_id=act.known_actor.user_id,
        status=ShownStatus.BOOKED,
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        reason=reason,
        created_at=act.now,
    )
    booking = Booking(
        AppointmentId(appointment.id),
        reason,
        _entry("appointment.book", appointment),
        _booked_event(appointment, slot),
        rendered(appointment, 201, f"/consultation/{appointment.id}"),
    )
    return booking, appointment


async def _locked_bookable(direct: Direct, act: Act, slot_id: SlotId) -> SlotNow:
    slot = await lock_slot(direct, slot_id)
    if slot is None or slot.doctor_role != Role.DOCTOR:
        raise NotFound("There is no such slot.")
    # Looked at again: what was seen without the lock may be over.
    require_bookable(slot.status, slot.starts_at, now=act.now)
    return slot


async def _locked_own(direct: Direct, act: Act, appointment_id: AppointmentId, *, action: str) -> LockedAppointment:
    appointment = await lock_appointment(direct, appointment_id)
    if appointment is None or not takes_part(appointment, act.known_actor):
        raise _not_yours(appointment_id, appointment, action=action)
    return appointment


async def _occupy(
    session: AsyncSession, act: Act, slot: SlotNow, *, patient_id: PatientId, reason: str | None
) -> Appointment:
    await set_slot_status(direct_of(session), slot.id, SlotStatus.BOOKED)
    appointment = Appointment(
        id=uuid7(),
        slot_id=slot.id,
        doctor_id=slot.doctor_id,
        patient_id=patient_id,
        status=AppointmentStatus.BOOKED.value,
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        reason=reason,
        created_at=act.now,
    )
    session.add(appointment)
    # The second wall speaks here: appointments_doctor_no_overlap and appointments_patient_no_overlap.
    await session.flush()
    return appointment


async def _require_free(direct: Direct, act: Act, appointment: LockedAppointment, slot: SlotNow) -> None:
    """Tell another than the patient that the patient is busy, and have it in the trail.

    It says of the patient that they are with somebody else, which nobody may learn without a trace. Under the patient's
    lock it is as certain as the constraint, which speaks to the patient themselves, and if this should ever be wrong.
    """
    patient_id = PatientId(appointment.patient_id)
    if act.known_actor.user_id != patient_id and await queries.is_busy(direct, patient_id, slot):
        learnt = _entry("appointment.reschedule", appointment)
        raise PatientBusy(denial=replace(learnt, outcome="failed", details={"reason": PatientBusy.slug()}))


async def _release(direct: Direct, appointment: LockedAppointment) -> SlotNow:
    slot = await lock_slot(direct, SlotId(appointment.slot_id))
    if slot is None:
        raise LookupError("an appointment's slot cannot be gone: appointments_slot refers to it")
    await set_slot_status(direct, slot.id, SlotStatus.OPEN)
    return slot


def _entry(action: str, appointment: AnyAppointment | AppointmentReply) -> AuditEntry:
    return AuditEntry(action, "appointment", appointment.id, patient_id=appointment.patient_id)


def _booked_event(appointment: Appointment | AppointmentReply, slot: SlotNow) -> Event:
    return _event(APPOINTMENT_BOOKED, appointment, starts_at=slot.starts_at.isoformat(), **gone_payload(slot))


def _event(kind: str, appointment: Appointment | LockedAppointment | AppointmentReply, **more: str | int) -> Event:
    payload = {
        "appointment_id": str(appointment.id),
        "doctor_id": str(appointment.doctor_id),
        "patient_id": str(appointment.patient_id),
    }
    # What can be shown without its row has just been made.
    version = 1 if isinstance(appointment, AppointmentReply) else appointment.version
    return Event(kind, appointment.id, version, payload | more)


def _not_yours(appointment_id: AppointmentId, appointment: AnyAppointment | None, *, action: str) -> NotFound:
    patient_id = appointment.patient_id if appointment else None
    return NotFound(
        "You have no such appointment.",
        denial=AuditEntry(action, "appointment", appointment_id, patient_id=patient_id, outcome="denied"),
    )
