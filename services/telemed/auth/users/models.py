"""The user: an account and the person who holds it."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlmodel import Field, SQLModel

from telemed.contracts.roles import Role


class User(SQLModel, table=True):
    """Somebody with an account. Other services see the view auth.people, and no more."""

    __tablename__ = "users"
    __table_args__ = {"schema": "auth"}

    id: UUID = Field(primary_key=True)
    email: str  # normalised (`emails`); unique by the constraint users_email_key
    full_name: str
    phone: str | None
    role: str = Role.PATIENT.value
    password_hash: str
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    version: int = 1  # counts changes; gives events their deterministic ids


class SeenUser(NamedTuple):
    """A user as a look finds them, past the ORM: what may be shown of them, in the columns' order."""

    id: UUID
    email: str
    full_name: str
    phone: str | None
    role: str
    created_at: datetime
