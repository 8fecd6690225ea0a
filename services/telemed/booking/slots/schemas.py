"""What slots look like on the wire."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from telemed.booking.doctors.schemas import DOCTOR_CARD_EXAMPLE, DoctorCard, Language
from telemed.booking.slots.models import Slot, SlotStatus
from telemed.kernel.paging import MAX_LIMIT, CursorText
from telemed.kernel.text import Instant, Line80, QueryInstant, lowered

_SLOT_ID = "0198f3c2-8b21-7d4f-8a65-4a2d6c8e3fa1"
_DOCTOR_ID = "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90"
_TIMES: dict[str, JsonValue] = {"starts_at": "2026-11-24T09:00:00Z", "ends_at": "2026-11-24T09:20:00Z"}


class SlotTimes(BaseModel):
    """When a slot begins and ends."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _TIMES})

    starts_at: Instant = Field(description="Beginning; in the future.")
    ends_at: Instant = Field(description="End; 5 minutes to 12 hours after the beginning.")


class PublishSlots(BaseModel):
    """Slots to publish: all of them, or none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"slots": [_TIMES]}})

    slots: list[SlotTimes] = Field(min_length=1, max_length=500, description="Slots that overlap nothing.")


class SlotReply(BaseModel):
    """A slot as its doctor sees it."""

    model_config = ConfigDict(
        json_schema_extra={"example": _TIMES | {"id": _SLOT_ID, "doctor_id": _DOCTOR_ID, "status": "open"}}
    )

    id: UUID = Field(description="Id of the slot.")
    doctor_id: UUID = Field(description="Whose slot it is.")
    starts_at: Instant = Field(description="Beginning.")
    ends_at: Instant = Field(description="End.")
    status: SlotStatus = Field(description="Where the slot stands.")

    @classmethod
    def of(cls, slot: Slot) -> "SlotReply":
        """Show the slot."""
        return cls(
            id=slot.id,
            doctor_id=slot.doctor_id,
            starts_at=slot.starts_at,
            ends_at=slot.ends_at,
            status=SlotStatus(slot.status),
        )


class PublishedSlots(BaseModel):
    """What was published."""

    items: list[SlotReply] = Field(description="The new slots, in the order in which they were given.")


class FoundSlot(BaseModel):
    """An open slot with its doctor's card."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _TIMES
            | {
                "id": _SLOT_ID,
                "doctor": DOCTOR_CARD_EXAMPLE,
            }
        }
    )

    id: UUID = Field(description="Id of the slot; what booking asks for.")
    starts_at: Instant = Field(description="Beginning.")
    ends_at: Instant = Field(description="End.")
    doctor: DoctorCard = Field(description="Who is to be met.")


class FoundSlots(BaseModel):
    """One page of a search."""

    items: list[FoundSlot] = Field(description="Open slots in the order of time.")
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next page; null on the last one.")


def _lowered(value: str | None) -> str | None:
    return lowered(value) if value is not None else None


class SearchSlots(BaseModel):
    """What is searched for, as query parameters. Frozen: it is also the key of the cached page."""

    model_config = ConfigDict(frozen=True)

    specialization: Annotated[Line80 | None, AfterValidator(_lowered)] = Field(
        default=None, description="Field of medicine, regardless of case."
    )
    doctor_id: UUID | None = Field(default=None, description="One doctor's slots only.")
    language: Annotated[Language | None, AfterValidator(_lowered)] = Field(
        default=None, description="A language the doctor speaks, regardless of case."
    )
    max_fee_minor: int | None = Field(
        default=None, ge=0, le=1_000_000_000, description="Highest fee, in minor units of the doctor's currency."
    )
    starts_from: QueryInstant | None = Field(
        default=None, alias="from", description="Earliest beginning, with any UTC offset."
    )
    starts_before: QueryInstant | None = Field(
        default=None, alias="to", description="Beginnings before this, with any UTC offset."
    )
    limit: int = Field(default=20, ge=1, le=MAX_LIMIT, description="How many items at most.")
    cursor: CursorText | None = Field(default=None, description="`next_cursor` of the page before.")
