"""The session that begins with a login."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlmodel import Field, SQLModel


class LoginSession(SQLModel, table=True):
    """A family of refresh tokens, of which the one of *generation* is current."""

    __tablename__ = "sessions"
    __table_args__ = {"schema": "auth"}

    id: UUID = Field(primary_key=True)
    user_id: UUID
    generation: int = 0
    rotated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    revoked_because: str | None = None
