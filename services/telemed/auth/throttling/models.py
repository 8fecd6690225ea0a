"""What is remembered about attempts: keyed hashes and instants, no mail and no address."""

from datetime import datetime

from sqlalchemy import Column, DateTime, LargeBinary
from sqlmodel import Field, SQLModel


class LoginBucket(SQLModel, table=True):
    """A count of failures, see `rules`; which limit it belongs to is part of the hash."""

    __tablename__ = "login_buckets"
    __table_args__ = {"schema": "auth"}

    bucket: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    clears_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class KnownAddress(SQLModel, table=True):
    """An address from which somebody has shown to be the account's holder."""

    __tablename__ = "known_addresses"
    __table_args__ = {"schema": "auth"}

    account: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    address: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    last_seen_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
