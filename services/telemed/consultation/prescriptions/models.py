"""The table of prescriptions. Insert-only: neither the services' role nor the owner can change a row."""

from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Prescription(SQLModel, table=True):
    """One version of what a doctor prescribed at one visit.

    Says itself who issued it and for whom, so that it can be understood without the appointment.
    """

    __tablename__ = "prescriptions"
    __table_args__ = {"schema": "consultation"}

    id: UUID = Field(primary_key=True)
    consultation_id: UUID
    doctor_id: UUID
    patient_id: UUID
    version: int
    supersedes: UUID | None
    issued_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    diagnosis: str | None
    # Written once and always read whole; nothing is ever asked of a single item.
    items: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    advice: str | None
    follow_up_on: date | None


class SeenPrescription(NamedTuple):
    """A prescription past the ORM: what a client may be shown of it, in the columns' order."""

    id: UUID
    consultation_id: UUID
    patient_id: UUID
    version: int
    supersedes: UUID | None
    issued_at: datetime
    diagnosis: str | None
    items: list[dict[str, Any]]
    advice: str | None
    follow_up_on: date | None
