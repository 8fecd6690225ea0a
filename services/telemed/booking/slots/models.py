"""The slots' table."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlmodel import Field, SQLModel


class SlotStatus(StrEnum):
    """Where a slot stands."""

    OPEN = "open"
    BOOKED = "booked"
    WITHDRAWN = "withdrawn"


class Slot(SQLModel, table=True):
    """A bookable interval of one doctor. Its times never change; *version* counts changes of its status."""

    __tablename__ = "slots"
    __table_args__ = {"schema": "booking"}

    id: UUID = Field(primary_key=True)
    doctor_id: UUID
    starts_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    ends_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    status: str
    version: int = 1
    # The doctor's specialization in lower case, for an index of open slots. Written by the database alone.
    specialization_key: str | None = None
