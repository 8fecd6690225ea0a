"""Who may do what to a consultation; what everybody else gets, and the trail's record of it.

Whoever takes no part learns nothing: a consultation of others, and one that does not exist, both answer 404, to
administrators too. The patient, who may see it but not conduct it, is told so with 403.
"""

from telemed.contracts.appointments import (
    AnyAppointment,
    LockedAppointment,
    SeenAppointment,
    lock_appointment,
    part_in,
)
from telemed.contracts.ids import AppointmentId
from telemed.contracts.work import MayRepeat
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry
from telemed.kernel.direct import Direct
from telemed.kernel.problems import Forbidden, NotFound


def seen_by_participant(
    appointment: SeenAppointment | None, act: Act, consultation_id: AppointmentId, *, action: str
) -> SeenAppointment:
    """Give the consultation, if there is one, to one who takes part in it.

    Raises:
        NotFound: there is none, or it is not the actor's.
    """
    if appointment is None or part_in(appointment, act.known_actor) is None:
        raise NotFound("There is no such consultation.", denial=_denial(action, consultation_id, appointment))
    return appointment


async def locked_by_doctor(
    direct: Direct, act: Act, consultation_id: AppointmentId, *, action: str
) -> LockedAppointment:
    """Get the consultation for a change by its doctor, locking its row until the transaction ends.

    The row is locked before anything is decided, because state and part are to be those that the change meets.

    Raises:
        NotFound: there is none, or it is not the actor's.
        Forbidden: the actor is its patient.
    """
    appointment = await lock_appointment(direct, consultation_id)
    part = part_in(appointment, act.known_actor) if appointment is not None else None
    if appointment is None or part is None:
        raise NotFound("There is no such consultation.", denial=_denial(action, consultation_id, appointment))
    if part != "doctor":
        raise Forbidden("This is for the visit's doctor.", denial=_denial(action, consultation_id, appointment))
    return appointment


def by_doctor_still(consultation_id: AppointmentId, *, action: str) -> MayRepeat:
    """Give the rule by which a change is told again under its key: to a doctor who is one still (`Work.repeating`)."""

    async def require(direct: Direct, act: Act) -> None:
        await locked_by_doctor(direct, act, consultation_id, action=action)

    return require


def _denial(action: str, consultation_id: AppointmentId, appointment: AnyAppointment | None) -> AuditEntry:
    return AuditEntry(
        action=action,
        entity_type="consultation",
        entity_id=consultation_id,
        patient_id=appointment.patient_id if appointment is not None else None,
        outcome="denied",
    )
