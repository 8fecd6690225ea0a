"""Money: an amount in the currency's minor unit, never a fraction."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

Currency = Annotated[str, Strict(), StringConstraints(pattern=r"^[A-Z]{3}$")]


class Money(BaseModel):
    """An amount of money."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"amount_minor": 50000, "currency": "INR"}})

    amount_minor: Annotated[int, Strict()] = Field(
        ge=0, le=1_000_000_000, description="Amount in the currency's minor unit: 50000 is 500.00 INR."
    )
    currency: Currency = Field(description="ISO 4217 code.")
