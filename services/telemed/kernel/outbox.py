"""The outbox: what happened, kept in the same transaction as what made it happen; the worker delivers it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from sqlalchemy import Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.acts import Act
from telemed.kernel.direct import Direct, direct_of

if TYPE_CHECKING:
    from telemed.kernel.resources import Resources

_EVENT_IDS = UUID("0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90")  # namespace of our event ids; any fixed value will do


class OutboxEvent(SQLModel, table=True):
    """One event on its way. Claimed with FOR UPDATE SKIP LOCKED by `available_at`, never scanned by id."""

    __tablename__ = "outbox"
    __table_args__ = {"schema": "platform"}

    id: UUID = Field(primary_key=True)
    type: str
    payload: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    traceparent: str
    # Says in which month's partition the event is; part of the primary key for no other reason.
    occurred_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    available_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    attempts: int = 0
    last_error: str | None = None
    parked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    # Set instead of deleting the row: until its month is retired one can still see that, and when, it was delivered.
    delivered_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class HandledEvent(SQLModel, table=True):
    """A subscriber's note that it has seen an event; what makes at-least-once delivery take effect once."""

    __tablename__ = "handled_events"
    __table_args__ = {"schema": "platform"}

    subscriber: str = Field(primary_key=True)
    event_id: UUID = Field(primary_key=True)
    handled_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in the words of ``contracts.events``. Ids and machine words only, no health data.

    *version* counts the changes of the thing; together with type and thing it makes the id, so that the same event
    has the same id however often it is written.
    """

    type: str
    about: UUID
    version: int
    payload: dict[str, Any]

    @property
    def id(self) -> UUID:
        """Give the deterministic id."""
        return uuid5(_EVENT_IDS, f"{self.type}/{self.about}/{self.version}")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscriber's wish to be told of events of one type. The order of events is not promised.

    *handle* is told of all that came together, the oldest first, none of which it has had; what it raises is true of
    all of them, and each is tried again alone. It runs inside the transaction that also notes them as handled, and may
    be called again for the same events after a crash; effects outside of it (cache invalidation) must bear repetition.
    """

    subscriber: str
    event_type: str
    handle: Callable[["Resources", Direct, Sequence[OutboxEvent]], Awaitable[None]]


async def append_events(transaction: AsyncSession | Direct, act: Act, *events: Event) -> None:
    """Put the events into the outbox as part of the transaction; they are written at its end, in this order."""
    direct_of(transaction).ending.events += [
        (event.id, event.type, json.dumps(event.payload), act.traceparent, act.now) for event in events
    ]
