"""Issuing and reading prescriptions; each function is one transaction."""

from telemed.consultation.access import locked_by_doctor, seen_by_participant
from telemed.consultation.prescriptions.models import SeenPrescription
from telemed.consultation.prescriptions.queries import (
    LOOK_AT_PRESCRIPTIONS,
    insert_prescription,
    newest_prescription,
    prescriptions_in,
)
from telemed.consultation.prescriptions.rules import next_version, require_follow_up_ahead, require_prescribing
from telemed.consultation.prescriptions.schemas import CurrentPrescriptionReply, IssuePrescription
from telemed.consultation.problems import PrescriptionNotIssued
from telemed.contracts.events import PRESCRIPTION_ISSUED
from telemed.contracts.ids import AppointmentId
from telemed.contracts.looks import Found, Look, Shown
from telemed.kernel.acts import Act
from telemed.kernel.audit import AuditEntry, append_audit
from telemed.kernel.direct import Direct
from telemed.kernel.ids import uuid7
from telemed.kernel.outbox import Event, append_events


async def issue_prescription(
    direct: Direct, act: Act, consultation_id: AppointmentId, wanted: IssuePrescription
) -> SeenPrescription:
    """Issue the visit's prescription, or a new one that supersedes it, as the visit's doctor.

    Locks the appointment's row: of two that are issued at once, the later one supersedes the earlier. Should the lock
    ever fail to do so, constraint prescriptions_version_key lets only one of them through.

    Raises:
        NotFound, Forbidden: the actor is not its doctor.
        StepNotAllowed: the visit has not started, or did not take place.
        InvalidRequest: the follow-up is in the past or too far ahead.
        PrescriptionLimitReached: it was superseded too often.
    """
    appointment = await locked_by_doctor(direct, act, consultation_id, action="prescription.issue")
    current = await newest_prescription(direct, consultation_id)
    require_prescribing(appointment.status)
    require_follow_up_ahead(wanted.follow_up_on, now=act.now)
    prescription = SeenPrescription(
        id=uuid7(),
        consultation_id=appointment.id,
        patient_id=appointment.patient_id,
        version=next_version(current.version if current else None),
        supersedes=current.id if current else None,
        issued_at=act.now,
        diagnosis=wanted.diagnosis,
        items=[item.model_dump(mode="json") for item in wanted.items],
        advice=wanted.advice,
        follow_up_on=wanted.follow_up_on,
    )
    await insert_prescription(direct, prescription, doctor_id=appointment.doctor_id)
    await append_audit(direct, act, _entry("prescription.issue", prescription))
    payload = {
        "prescription_id": str(prescription.id),
        "consultation_id": str(prescription.consultation_id),
        "version": prescription.version,
    }
    await append_events(direct, act, Event(PRESCRIPTION_ISSUED, prescription.id, prescription.version, payload))
    return prescription


def read_prescriptions(consultation_id: AppointmentId) -> Look[CurrentPrescriptionReply]:
    """Show every version to one who takes part in the visit, newest first; there is at least one.

    Raises:
        NotFound: there is no such consultation, or it is not the actor's.
        PrescriptionNotIssued: it has no prescription; no denial, as the actor may know that.
    """

    def judge(act: Act, rows: Found) -> Shown[CurrentPrescriptionReply]:
        appointment, versions = prescriptions_in(rows)
        seen_by_participant(appointment, act, consultation_id, action="prescription.read")
        if not versions:
            raise PrescriptionNotIssued
        return Shown(CurrentPrescriptionReply.newest_of(versions), [_entry("prescription.read", versions[0])])

    return Look(LOOK_AT_PRESCRIPTIONS, (consultation_id,), judge)


def _entry(action: str, prescription: SeenPrescription) -> AuditEntry:
    return AuditEntry(
        action=action,
        entity_type="prescription",
        entity_id=prescription.id,
        patient_id=prescription.patient_id,
        details={"consultation_id": str(prescription.consultation_id), "version": prescription.version},
    )
