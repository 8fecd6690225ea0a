"""What consultations look like to clients."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from telemed.consultation.visits.rules import VisitStatus, status_shown
from telemed.contracts.appointments import AnyAppointment
from telemed.kernel.text import Instant

_EXAMPLE: dict[str, JsonValue] = {
    "id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90",
    "doctor_id": "0198f3a0-11d2-7b60-8c2e-5f0a9e2b7c11",
    "patient_id": "0198f3a4-9f3b-7d15-a1c7-2b8e6d4f0a35",
    "status": "in_progress",
    "starts_at": "2026-11-23T09:00:00Z",
    "ends_at": "2026-11-23T09:20:00Z",
    "started_at": "2026-11-23T08:58:12Z",
    "completed_at": None,
}


class ConsultationReply(BaseModel):
    """A consultation: the visit that an appointment becomes, under the appointment's id."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: UUID = Field(description="The consultation's id; the same as its appointment's.")
    doctor_id: UUID = Field(description="Its doctor's user id.")
    patient_id: UUID = Field(description="Its patient's user id.")
    status: VisitStatus = Field(description="Where it stands; an appointment that was moved is `cancelled` here.")
    starts_at: Instant = Field(description="When it is to start.")
    ends_at: Instant = Field(description="When it is to end.")
    started_at: Instant | None = Field(description="When the doctor started it; null before.")
    completed_at: Instant | None = Field(description="When the doctor completed it; null before.")

    @classmethod
    def of(cls, appointment: AnyAppointment) -> "ConsultationReply":
        """Show the appointment as the consultation that it is."""
        return cls(
            id=appointment.id,
            doctor_id=appointment.doctor_id,
            patient_id=appointment.patient_id,
            status=status_shown(appointment.status),
            starts_at=appointment.starts_at,
            ends_at=appointment.ends_at,
            started_at=appointment.started_at,
            completed_at=appointment.completed_at,
        )
