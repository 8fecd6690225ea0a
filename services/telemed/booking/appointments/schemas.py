"""What appointments look like on the wire."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from telemed.booking.appointments.rules import ShownStatus, status_shown
from telemed.contracts.appointments import AnyAppointment
from telemed.kernel.text import Instant, Text1000

_SLOT_ID = "0198f3c2-8b21-7d4f-8a65-4a2d6c8e3fa1"


class BookSlot(BaseModel):
    """A patient's wish."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"slot_id": _SLOT_ID, "reason": "Palpitations since Monday"}}
    )

    slot_id: UUID = Field(description="An open slot, from the search.")
    reason: Text1000 | None = Field(default=None, description="What brings the patient; the doctor reads it.")


class MoveAppointment(BaseModel):
    """Where an appointment is to be moved."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"slot_id": _SLOT_ID}})

    slot_id: UUID = Field(description="Another open slot of the same doctor.")


class AppointmentReply(BaseModel):
    """An appointment as its patient and its doctor see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0198f3c2-9c32-7e5a-9b76-5b3e7d9f4ab2",
                "slot_id": _SLOT_ID,
                "doctor_id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90",
                "patient_id": "0198f3c2-6b0f-7b2d-8943-2e0b4a6c1d8f",
                "status": "booked",
                "starts_at": "2026-11-24T09:00:00Z",
                "ends_at": "2026-11-24T09:20:00Z",
                "reason": "Palpitations since Monday",
                "created_at": "2026-11-23T08:15:30.250000Z",
            }
        }
    )

    id: UUID = Field(description="Id of the appointment, and of the consultation it becomes.")
    slot_id: UUID = Field(description="The booked slot.")
    doctor_id: UUID = Field(description="Who is to be met.")
    patient_id: UUID = Field(description="Who booked.")
    status: ShownStatus = Field(description="Where it stands; a running visit is still booked here.")
    starts_at: Instant = Field(description="Beginning.")
    ends_at: Instant = Field(description="End.")
    reason: str | None = Field(description="What brings the patient.")
    created_at: Instant = Field(description="When it was booked.")

    @classmethod
    def of(cls, appointment: AnyAppointment) -> "AppointmentReply":
        """Show the appointment."""
        return cls(
            id=appointment.id,
            slot_id=appointment.slot_id,
            doctor_id=appointment.doctor_id,
            patient_id=appointment.patient_id,
            status=status_shown(appointment.status),
            starts_at=appointment.starts_at,
            ends_at=appointment.ends_at,
            reason=appointment.reason,
            created_at=appointment.created_at,
        )
