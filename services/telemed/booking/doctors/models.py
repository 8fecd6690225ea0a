"""The directory's table."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Text
from sqlmodel import Field, SQLModel


class Doctor(SQLModel, table=True):
    """A doctor as patients find them. The id is the user's; the name is copied from auth when the entry is written."""

    __tablename__ = "doctors"
    __table_args__ = {"schema": "booking"}

    id: UUID = Field(primary_key=True)
    full_name: str
    specialization: str
    languages: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    fee_minor: int = Field(sa_column=Column(BigInteger, nullable=False))
    fee_currency: str
    time_zone: str  # IANA zone in which the doctor thinks; instants are UTC all the same
    bio: str | None
    registration_number: str
    is_listed: bool  # false once the user is no longer a doctor
    listed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    version: int


class SeenDoctor(NamedTuple):
    """An entry as a look finds it and a doctor writes it, past the ORM, in the columns' order."""

    id: UUID
    full_name: str
    specialization: str
    languages: list[str]
    fee_minor: int
    fee_currency: str
    time_zone: str
    bio: str | None
    registration_number: str
    listed_at: datetime
