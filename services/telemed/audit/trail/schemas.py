"""What the trail looks like on the wire."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from telemed.kernel.audit import AuditOutcome, AuditRecord
from telemed.kernel.paging import MAX_LIMIT, CursorText
from telemed.kernel.text import Instant, QueryInstant

_Word = Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z][a-z0-9_]*$")]
_Action = Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$")]


class TrailFilter(BaseModel):
    """What is asked for, as query parameters; all that are given must hold."""

    # A misspelt filter is refused: what looks filtered and is not would be worse than no answer.
    model_config = ConfigDict(frozen=True, extra="forbid")

    actor_id: UUID | None = Field(default=None, description="Who acted.")
    actor: UUID | None = Field(default=None, description="The same as `actor_id`.")
    action: _Action | None = Field(
        default=None, description="What was done, as `entity.verb`.", examples=["appointment.read"]
    )
    entity_type: _Word | None = Field(
        default=None, description="The kind of thing it was done to.", examples=["appointment"]
    )
    entity_id: UUID | None = Field(default=None, description="The thing it was done to.")
    entity: UUID | None = Field(default=None, description="The same as `entity_id`.")
    patient_id: UUID | None = Field(default=None, description="The patient whose data it was about.")
    outcome: AuditOutcome | None = Field(default=None, description="How it ended.")
    recorded_from: QueryInstant | None = Field(default=None, alias="from", description="Recorded at or after this.")
    recorded_before: QueryInstant | None = Field(default=None, alias="to", description="Recorded before this.")
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT, description="How many items at most.")
    cursor: CursorText | None = Field(default=None, description="`next_cursor` of the page before.")


class AuditRecordReply(BaseModel):
    """One record of the audit trail, with every column that its hash covers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0198f3c2-ad43-7f6b-8c87-6c4f8ea05bc3",
                "recorded_at": "2026-11-23T08:15:30.250000Z",
                "actor_id": "0198f3c2-6b0f-7b2d-8943-2e0b4a6c1d8f",
                "actor_role": "patient",
                "action": "appointment.read",
                "outcome": "allowed",
                "entity_type": "appointment",
                "entity_id": "0198f3c2-9c32-7e5a-9b76-5b3e7d9f4ab2",
                "patient_id": "0198f3c2-6b0f-7b2d-8943-2e0b4a6c1d8f",
                "request_id": "b1946ac92492d2347c6235b4",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "client_address": "203.0.113.7",
                "details": {},
            }
        }
    )

    id: UUID = Field(description="Id of the record.")
    recorded_at: Instant = Field(description="When the act began.")
    actor_id: UUID | None = Field(description="Who acted; null if they were not known (yet).")
    actor_role: str | None = Field(description="The role that they had at that moment.")
    action: str = Field(description="What was done, as `entity.verb`.")
    outcome: AuditOutcome = Field(description="Whether it was allowed, denied, or failed.")
    entity_type: str = Field(description="The kind of thing it was done to.")
    entity_id: UUID | None = Field(description="The thing it was done to; null if it is none or many.")
    patient_id: UUID | None = Field(description="The patient whose data it was about, if it was about one's.")
    request_id: str = Field(description="Id of the request, as in its `X-Request-ID` header and in the logs.")
    trace_id: str = Field(description="Id of the trace that the request belongs to.")
    client_address: str = Field(description="Network address of the client.")
    details: dict[str, Any] = Field(description="Machine words on the act, such as a reason; never health data.")

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        """Show the record."""
        return cls.model_validate(record.model_dump())
