"""What prescriptions look like to clients."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, Strict

from telemed.consultation.prescriptions.models import SeenPrescription
from telemed.kernel.text import EARLIEST_INSTANT, LATEST_INSTANT, Instant, Line200, Text1000, Text4000

MAX_ITEMS = 50
MAX_DURATION_DAYS = 3650
_CALENDAR_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _require_calendar_date(value: object) -> object:
    # Pydantic also reads numbers as Unix time, and instants at midnight; neither says a day unambiguously.
    if isinstance(value, date) or (isinstance(value, str) and _CALENDAR_DATE.fullmatch(value)):
        return value
    raise ValueError("a date is written YYYY-MM-DD, for example 2026-12-07")


def _in_bounds(value: date) -> date:
    if not EARLIEST_INSTANT.year <= value.year < LATEST_INSTANT.year:
        raise ValueError("the year must lie between 2000 and 2099")
    return value


CalendarDate = Annotated[
    date, BeforeValidator(_require_calendar_date, json_schema_input_type=date), AfterValidator(_in_bounds)
]

_ITEM: dict[str, JsonValue] = {
    "medicine": "Amoxicillin 500 mg capsules",
    "dosage": "1 capsule",
    "frequency": "three times a day",
    "duration_days": 7,
    "instructions": "After meals, with a glass of water.",
}
_ISSUED: dict[str, JsonValue] = {
    "id": "0198f4b1-2c35-7e0a-b7d4-91c2e6a83f10",
    "consultation_id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90",
    "version": 1,
    "issued_at": "2026-11-23T09:14:31Z",
    "diagnosis": "Acute bacterial sinusitis",
    "items": [_ITEM],
    "advice": "Rest, drink plenty, and come back sooner if the fever returns.",
    "follow_up_on": "2026-12-07",
    "supersedes": None,
}
_SENT: dict[str, JsonValue] = {name: _ISSUED[name] for name in ("diagnosis", "items", "advice", "follow_up_on")}


class PrescriptionItem(BaseModel):
    """One medicine and how to take it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _ITEM})

    medicine: Line200 = Field(description="What to take, with its strength.")
    dosage: Line200 = Field(description="How much at a time.")
    frequency: Line200 = Field(description="How often.")
    duration_days: Annotated[int, Strict()] = Field(ge=1, le=MAX_DURATION_DAYS, description="For how many days.")
    instructions: Text1000 | None = Field(default=None, description="What else to mind when taking it.")


class IssuePrescription(BaseModel):
    """What a doctor prescribes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _SENT})

    diagnosis: Text1000 | None = Field(default=None, description="What it is prescribed for.")
    items: list[PrescriptionItem] = Field(min_length=1, max_length=MAX_ITEMS, description="The medicines.")
    advice: Text4000 | None = Field(default=None, description="What else the doctor recommends.")
    follow_up_on: CalendarDate | None = Field(
        default=None, description="The day on which to meet again; not in the past and within ten years."
    )


class PrescriptionReply(BaseModel):
    """One version of a visit's prescription."""

    model_config = ConfigDict(json_schema_extra={"example": _ISSUED})

    id: UUID = Field(description="The id of this version.")
    consultation_id: UUID = Field(description="The visit at which it was issued.")
    version: int = Field(ge=1, description="Counts the visit's prescriptions from 1.")
    issued_at: Instant = Field(description="When it was issued.")
    diagnosis: str | None = Field(description="What it is prescribed for.")
    items: list[PrescriptionItem] = Field(description="The medicines.")
    advice: str | None = Field(description="What else the doctor recommends.")
    follow_up_on: date | None = Field(description="The day on which to meet again.")
    supersedes: UUID | None = Field(description="The id of the version that this one replaces; null for the first.")

    @classmethod
    def of(cls, prescription: SeenPrescription) -> "PrescriptionReply":
        """Show the prescription."""
        return cls.model_validate(prescription._asdict())


class CurrentPrescriptionReply(PrescriptionReply):
    """The prescription that holds now, and those that it replaced."""

    model_config = ConfigDict(json_schema_extra={"example": _ISSUED | {"history": []}})

    history: list[PrescriptionReply] = Field(description="The versions before it, newest first.")

    @classmethod
    def newest_of(cls, versions: Sequence[SeenPrescription]) -> "CurrentPrescriptionReply":
        """Show the first of *versions*, which are newest first, with the others as its history."""
        current, *history = versions
        return cls(**current._asdict(), history=[PrescriptionReply.of(version) for version in history])
