"""The audit trail's writing end: one record for every write, denial and read of patient data, in the same transaction.

Services may only insert; reading, chaining and verifying belong to the audit service and its worker jobs.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Column, DateTime, insert
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from telemed.kernel.acts import Act
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


_INSERT = insert(AuditRecord.__table__)  # type: ignore[attr-defined]  # set by SQLModel, unknown to its types


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


async def append_audit(session: AsyncSession, act: Act, *entries: AuditEntry) -> None:
    """Add the records to the trail as part of the session's transaction."""
    if not entries:
        return
    # No RETURNING and no ORM refresh: the services' role may insert into this table, not select from it. The rows are
    # parameters and not part of the statement, so that it is compiled once and not for every act.
    await session.execute(_INSERT, [record_of(act, entry) for entry in entries])


def record_of(act: Act, entry: AuditEntry) -> dict[str, Any]:
    """Make the record, by the names of its columns and in their order."""
    return {
        "id": uuid7(),
        "recorded_at": act.now,
        "actor_id": act.actor.user_id if act.actor else None,
        "actor_role": act.actor.role if act.actor else None,
        "action": entry.action,
        "outcome": entry.outcome,
        "entity_type": entry.entity_type,
        "entity_id": entry.entity_id,
        "patient_id": entry.patient_id,
        "request_id": act.request_id,
        "trace_id": act.trace_id,
        "client_address": act.client_address,
        "details": entry.details,
    }
