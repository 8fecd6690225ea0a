"""What is sent to begin, continue and end a session."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

from telemed.auth.emails import EmailAddress
from telemed.auth.passwords.schemas import GivenPassword

_TOKEN = "AZjzwnoQfD6aVD8cW30ukAAAAABxq1vZ7yXc0mJrK2l3V4u5s6w7x8y9z0A1B2C3D4E5Fg"  # noqa: S105 - an example
# Wider than our tokens are: what we have not made is answered as such, and not as a mistake in form.
GivenRefreshToken = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=512, pattern=r"^[\x21-\x7e]+$")]


class LoginBody(BaseModel):
    """Who somebody says to be, and their password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"email": "asha.rao@example.com", "password": "four cats under one umbrella"}},
    )

    email: EmailAddress = Field(description="The address the account was made with.")
    password: GivenPassword = Field(description="The password.")


class RefreshBody(BaseModel):
    """A refresh token to be exchanged."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"refresh_token": _TOKEN}})

    refresh_token: GivenRefreshToken = Field(description="The newest refresh token of the session.")


class LogoutBody(BaseModel):
    """Optional: which session to end, for a client that has no valid access token."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"refresh_token": _TOKEN}})

    refresh_token: GivenRefreshToken | None = Field(default=None, description="A refresh token of the session.")
