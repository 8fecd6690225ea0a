"""What can be done with consultations; each function is one transaction."""

from datetime import timedelta

from telemed.consultation.access import locked_by_doctor, seen_by_participant
from telemed.consultation.visits.rules import VisitStatus, require_late, require_open, stored_as
from telemed.consultation.visits.schemas import ConsultationReply
from telemed.contracts.appointments import (
    LOOK_AT_APPOINTMENT,
    LOOK_AT_APPOINTMENTS,
    AnyAppointment,
    LockedAppointment,
    appointment_in,
    appointments_in,
    own_appointments,
    step,
    write_step,
)
from telemed.contracts.events import CONSULTATION_COMPLETED, CONSULTATION_MISSED, CONSULTATION_STARTED
from telemed.contracts.ids import AppointmentId
from telemed.contracts.looks import Found, Look, Shown
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.outbox import Event, append_events
from telemed.kernel.paging import Cursor, Page, page_of


def list_consultations(
    *, status: VisitStatus | None, after: Cursor | None, limit: int
) -> Look[Page[ConsultationReply]]:
    """Show a page of the actor's own, those that start latest first; each one shown is a look of its own."""
    states = stored_as(status) if status is not None else ()

    def judge(_act: Act, rows: Found) -> Shown[Page[ConsultationReply]]:
        found = appointments_in(rows)
        page = page_of(found, limit, item=ConsultationReply.of, place=lambda one: Cursor(one.starts_at, one.id))
        return Shown(page, [_entry("consultation.read", one) for one in found[:limit]])

    return Look(LOOK_AT_APPOINTMENTS, own_appointments(states=states, after=after, limit=limit + 1), judge)


def read_consultation(consultation_id: AppointmentId) -> Look[ConsultationReply]:
    """Show a consultation to one who takes part in it.

    Raises:
        NotFound: there is none, or it is not the actor's.
    """

    def judge(act: Act, rows: Found) -> Shown[ConsultationReply]:
        appointment = seen_by_participant(appointment_in(rows), act, consultation_id, action="consultation.read")
        return Shown(ConsultationReply.of(appointment), [_entry("consultation.read", appointment)])

    return Look(LOOK_AT_APPOINTMENT, (consultation_id,), judge)


async def start_visit(
    direct: Direct, act: Act, consultation_id: AppointmentId, opens_before: timedelta
) -> LockedAppointment:
    """Start the visit, as its doctor. Locks the appointment's row.

    Raises:
        NotFound, Forbidden: the actor is not its doctor.
        StepNotAllowed: it is not booked.
        VisitNotOpenYet, VisitLapsed: it is not its time.
    """
    appointment = await locked_by_doctor(direct, act, consultation_id, action="consultation.start")
    step(appointment, "start")
    require_open(act.now, starts_at=appointment.starts_at, ends_at=appointment.ends_at, opens_before=opens_before)
    appointment.started_at = act.now
    await _record_step(direct, act, appointment, action="consultation.start", event=CONSULTATION_STARTED)
    return appointment


async def complete_visit(direct: Direct, act: Act, consultation_id: AppointmentId) -> LockedAppointment:
    """Complete the visit, as its doctor. Locks the appointment's row.

    Raises:
        NotFound, Forbidden: the actor is not its doctor.
        StepNotAllowed: it is not in progress.
    """
    appointment = await locked_by_doctor(direct, act, consultation_id, action="consultation.complete")
    step(appointment, "complete")
    # Two machines' clocks may differ by more than a short visit takes; it must not end before it began.
    appointment.completed_at = max(act.now, appointment.started_at or act.now)
    await _record_step(direct, act, appointment, action="consultation.complete", event=CONSULTATION_COMPLETED)
    return appointment


async def record_no_show(direct: Direct, act: Act, consultation_id: AppointmentId) -> LockedAppointment:
    """Write down, as its doctor, that the patient did not come. Locks the appointment's row.

    Raises:
        NotFound, Forbidden: the actor is not its doctor.
        StepNotAllowed: it is not booked.
        NoShowTooEarly: its time has not come.
    """
    appointment = await locked_by_doctor(direct, act, consultation_id, action="consultation.no_show")
    step(appointment, "no_show")
    require_late(act.now, starts_at=appointment.starts_at)
    await _record_step(direct, act, appointment, action="consultation.no_show", event=CONSULTATION_MISSED)
    return appointment


async def _record_step(direct: Direct, act: Act, appointment: LockedAppointment, *, action: str, event: str) -> None:
    payload = {
        "consultation_id": str(appointment.id),
        "doctor_id": str(appointment.doctor_id),
        "patient_id": str(appointment.patient_id),
    }
    await write_step(direct, appointment)
    await append_audit(direct, act, _entry(action, appointment))
    await append_events(direct, act, Event(event, appointment.id, appointment.version, payload))


def _entry(action: str, appointment: AnyAppointment) -> AuditEntry:
    return AuditEntry(
        action=action,
        entity_type="consultation",
        entity_id=appointment.id,
        patient_id=appointment.patient_id,
        details={"status": appointment.status},
    )
