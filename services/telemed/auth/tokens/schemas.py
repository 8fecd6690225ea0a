"""What is said of tokens and keys on the wire."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from telemed.auth.tokens.gate import TokenPair

_KEY: JsonDict = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "4f1c2d3e5a6b7c80",
    "use": "sig",
    "alg": "EdDSA",
}


class TokenReply(BaseModel):
    """The tokens of a session."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJraWQiOiI0ZjFjIn0.eyJzdWIiOiIwMTk4In0.c2lnbmF0dXJl",
                "refresh_token": "AZjzwnoQfD6aVD8cW30ukAAAAABxq1vZ7yXc0mJrK2l3V4u5s6w7x8y9z0A1B2C3D4E5Fg",
                "token_type": "bearer",
                "expires_in": 600,
            }
        }
    )

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    refresh_token: str = Field(description="Exchange it at `/auth/refresh` before the access token expires.")
    token_type: Literal["bearer"] = Field(default="bearer", description="How the access token is sent.")
    expires_in: int = Field(description="Seconds until the access token expires.", ge=0)

    @classmethod
    def of(cls, tokens: TokenPair) -> Self:
        """Render."""
        return cls(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_in=int(tokens.expires_in.total_seconds()),
        )


class PublicKey(BaseModel):
    """A public key as JSON (RFC 8037)."""

    model_config = ConfigDict(json_schema_extra={"example": _KEY})

    kty: Literal["OKP"] = Field(default="OKP", description="Type of key.")
    crv: Literal["Ed25519"] = Field(default="Ed25519", description="Its curve.")
    x: str = Field(description="The 32 public bytes in base64url.")
    kid: str = Field(description="The key's id; the `kid` of the tokens that it verifies.")
    use: Literal["sig"] = Field(default="sig", description="What it is for.")
    alg: Literal["EdDSA"] = Field(default="EdDSA", description="The only algorithm that it may be used with.")


class KeySet(BaseModel):
    """The keys by which access tokens can be verified (RFC 7517)."""

    model_config = ConfigDict(json_schema_extra={"example": {"keys": [_KEY]}})

    keys: list[PublicKey] = Field(description="Several while keys are changed; none when tokens are not public.")
