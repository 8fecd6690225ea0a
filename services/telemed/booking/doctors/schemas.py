"""What the directory takes and gives."""

from typing import Annotated
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, Strict, StringConstraints

from telemed.booking.doctors.models import SeenDoctor
from telemed.contracts.money import Money
from telemed.kernel.text import Line80, Text4000

_ZONES = available_timezones()


def _known_zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError("not a time zone of the IANA database, for example Asia/Kolkata")
    return name


def _distinct(languages: list[str]) -> list[str]:
    if len({language.lower() for language in languages}) != len(languages):
        raise ValueError("a language is named twice")
    return languages


TimeZone = Annotated[
    str, Strict(), StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$"),
    AfterValidator(_known_zone),
]  # fmt: skip
Language = Annotated[str, Strict(), StringConstraints(min_length=2, max_length=35, pattern=r"^[A-Za-z][A-Za-z0-9 -]*$")]

_EXAMPLE: dict[str, JsonValue] = {
    "specialization": "Cardiology",
    "languages": ["en", "hi"],
    "fee": {"amount_minor": 50000, "currency": "INR"},
    "time_zone": "Asia/Kolkata",
    "bio": "Heart failure and rhythm, twenty years at a teaching hospital.",
    "registration_number": "MCI-2004-118273",
}


class WriteDoctor(BaseModel):
    """A doctor's whole entry; what is left out is removed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    specialization: Line80 = Field(description="Field of medicine; searched regardless of case.")
    languages: Annotated[list[Language], AfterValidator(_distinct)] = Field(
        min_length=1, max_length=20, description="Languages of the consultation, BCP 47 tags by preference."
    )
    fee: Money = Field(description="Price of one consultation.")
    time_zone: TimeZone = Field(description="IANA zone of the doctor's office hours.")
    bio: Text4000 | None = Field(default=None, description="A few sentences for patients.")
    registration_number: Line80 = Field(description="Number in the medical register; shown to you and to admins only.")


DOCTOR_CARD_EXAMPLE: dict[str, JsonValue] = {
    "id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90",
    "full_name": "Dr. Asha Rao",
    "specialization": "Cardiology",
    "languages": ["en", "hi"],
    "fee": {"amount_minor": 50000, "currency": "INR"},
}


class DoctorCard(BaseModel):
    """A doctor as shown beside a slot."""

    model_config = ConfigDict(json_schema_extra={"example": DOCTOR_CARD_EXAMPLE})

    id: UUID = Field(description="The doctor's user id.")
    full_name: str = Field(description="Name.")
    specialization: str = Field(description="Field of medicine.")
    languages: list[str] = Field(description="Languages of the consultation.")
    fee: Money = Field(description="Price of one consultation.")


class DoctorReply(DoctorCard):
    """A doctor's entry in the directory."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _EXAMPLE | {"id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90", "full_name": "Dr. Asha Rao"}
        }
    )

    time_zone: str = Field(description="IANA zone of the doctor's office hours.")
    bio: str | None = Field(description="A few sentences for patients.")
    registration_number: str | None = Field(description="Number in the medical register; null unless you may see it.")

    @classmethod
    def shown(cls, doctor: SeenDoctor, *, with_registration: bool) -> "DoctorReply":
        """Show the entry."""
        return cls(
            id=doctor.id,
            full_name=doctor.full_name,
            specialization=doctor.specialization,
            languages=doctor.languages,
            fee=Money(amount_minor=doctor.fee_minor, currency=doctor.fee_currency),
            time_zone=doctor.time_zone,
            bio=doctor.bio,
            registration_number=doctor.registration_number if with_registration else None,
        )
