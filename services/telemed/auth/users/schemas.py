"""What is said of users on the wire."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator

from telemed.auth.emails import EmailAddress
from telemed.auth.passwords.schemas import NewPassword
from telemed.auth.users.models import SeenUser, User
from telemed.contracts.roles import Role
from telemed.kernel.text import Instant, Line200

# As people write them, with or without a country's code; 15 digits is E.164's most, the rest are separators.
Phone = Annotated[
    str, Strict(), StringConstraints(min_length=5, max_length=32, pattern=r"^\+?[0-9(][0-9 ()./-]{3,29}[0-9]$")
]


class RegisterBody(BaseModel):
    """Somebody who wants an account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "email": "asha.rao@example.com",
                "password": "four cats under one umbrella",
                "full_name": "Asha Rao",
                "phone": "+91 98765 43210",
            }
        },
    )

    email: EmailAddress = Field(description="Address to log in with. Upper and lower case are the same.")
    password: NewPassword = Field(
        description="15 to 256 characters. Common passwords and those made of one's name or address are refused."
    )
    full_name: Line200 = Field(description="Name that doctors and patients see.")
    phone: Phone | None = Field(default=None, description="Telephone number.")


class RoleBody(BaseModel):
    """The role that somebody is to have; exactly one of `user_id` and `email` says who."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"email": "asha.rao@example.com", "role": "doctor"}}
    )

    user_id: UUID | None = Field(default=None, description="The user's id.")
    email: EmailAddress | None = Field(default=None, description="The user's address.")
    role: Role = Field(description="The role from now on.")

    @model_validator(mode="after")
    def _names_one_user(self) -> Self:
        if (self.user_id is None) == (self.email is None):
            raise ValueError("give exactly one of user_id and email")
        return self


class UserReply(BaseModel):
    """A user."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90",
                "email": "asha.rao@example.com",
                "full_name": "Asha Rao",
                "phone": "+91 98765 43210",
                "role": "patient",
                "created_at": "2026-11-23T09:00:00Z",
            }
        }
    )

    id: UUID = Field(description="The user's id.")
    email: str = Field(description="Address to log in with.", json_schema_extra={"format": "email"})
    full_name: str = Field(description="Name that doctors and patients see.")
    phone: str | None = Field(description="Telephone number.")
    role: Role = Field(description="What the user may be now.")
    created_at: Instant = Field(description="When the account was made.")

    @classmethod
    def of(cls, user: User | SeenUser) -> Self:
        """Render."""
        return cls(
            id=user.id,
            email=user.email,
            full_name=user.full_name,
            phone=user.phone,
            role=Role(user.role),
            created_at=user.created_at,
        )
