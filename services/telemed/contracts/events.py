"""Every event type, with what its payload holds. Ids and instants only: events leave the reach of access checks."""

from typing import Final

# appointment_id, slot_id, slot_version, doctor_id, patient_id, starts_at
APPOINTMENT_BOOKED: Final = "appointment.booked"
APPOINTMENT_CANCELLED: Final = "appointment.cancelled"  # appointment_id, slot_id, doctor_id, patient_id
# appointment_id, successor_id, slot_id, doctor_id, patient_id
APPOINTMENT_RESCHEDULED: Final = "appointment.rescheduled"
SLOTS_PUBLISHED: Final = "slots.published"  # doctor_id, slot_ids
SLOT_WITHDRAWN: Final = "slot.withdrawn"  # slot_id, slot_version, doctor_id
DOCTOR_CHANGED: Final = "doctor.changed"  # doctor_id
CONSULTATION_STARTED: Final = "consultation.started"  # consultation_id, doctor_id, patient_id
CONSULTATION_COMPLETED: Final = "consultation.completed"  # consultation_id, doctor_id, patient_id
CONSULTATION_MISSED: Final = "consultation.missed"  # consultation_id, doctor_id, patient_id
PRESCRIPTION_ISSUED: Final = "prescription.issued"  # prescription_id, consultation_id, version
USER_REGISTERED: Final = "user.registered"  # user_id
ROLE_CHANGED: Final = "user.role_changed"  # user_id, role, previous_role
SESSIONS_REVOKED: Final = "user.sessions_revoked"  # user_id, session_id, reason
