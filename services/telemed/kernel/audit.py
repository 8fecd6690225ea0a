"""The audit trail's writing end: one record for every write, denial and read of patient data, in the same transaction.

Services may only insert; reading, chaining and verifying belong to the audit service and its worker jobs.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.acts import Act
from telemed.kernel.direct import Direct, direct_of
from telemed.kernel.ending import Row
from telemed.kernel.ids import uuid7

AuditOutcome = Literal["allowed", "denied", "failed"]


class AuditRecord(SQLModel, table=True):
    """Who did what to which thing of whose, when, and whether it was allowed. Append-only; no health data."""

    __tablename__ = "records"
    __table_args__ = {"schema": "audit"}

    id: UUID = Field(primary_key=True)
    recorded_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    actor_id: UUID | None
    actor_role: str | None
    action: str
    outcome: str
    entity_type: str
    entity_id: UUID | None
    patient_id: UUID | None
    request_id: str
    trace_id: str
    client_address: str
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What an operation says of itself; the act supplies who and when.

    *action* is ``entity.verb`` from the vocabulary in docs/architecture.md, *patient_id* the person whose data it is
    about, *details* machine words such as a reason's slug: never names, mails, notes or free text.
    """

    action: str
    entity_type: str
    entity_id: UUID | None = None
    patient_id: UUID | None = None
    outcome: AuditOutcome = "allowed"
    details: dict[str, Any] = field(default_factory=dict)


async def append_audit(transaction: AsyncSession | Direct, act: Act, *entries: AuditEntry) -> None:
    """Add the records to the trail as part of the transaction; they are written at its end, in this order."""
    direct_of(transaction).ending.records += [record_of(act, entry) for entry in entries]


def record_of(act: Act, entry: AuditEntry) -> Row:
    """Make the record, in the order of its columns, as it is sent."""
    actor = act.actor
    return (
        uuid7(),
        act.now,
        actor.user_id if actor else None,
        actor.role if actor else None,
        entry.action,
        entry.outcome,
        entry.entity_type,
        entry.entity_id,
        entry.patient_id,
        act.request_id,
        act.trace_id,
        act.client_address,
        json.dumps(entry.details),
    )
