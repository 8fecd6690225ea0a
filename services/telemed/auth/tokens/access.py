"""Signing access tokens. What they must look like is written down beside their verifier, `kernel/identity.py`."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemed.kernel.identity import TOKEN_TYPE, hs256_key, key_id, public_key_id
from telemed.kernel.ids import uuid7
from telemed.kernel.keys import derived_key
from telemed.kernel.settings import Settings, SettingsProblem


class AccessTokenSigner:
    """Holds the signing key. Only `TokenGate` may ask it for a token."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._algorithm = settings.jwt_algorithm
        self._key, self._key_id = _signing_key(settings)

    @property
    def key_id(self) -> str:
        """Give the id under which verifiers must know the key."""
        return self._key_id

    def sign(self, *, user_id: UUID, session_id: UUID, issued_at: datetime, expires_at: datetime) -> str:
        """Make a token. It holds no role: that is read where it cannot be out of date."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(uuid7()),
            "iat": int(issued_at.timestamp()),
            "nbf": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        header = {"typ": TOKEN_TYPE, "kid": self._key_id}
        return jwt.encode(claims, self._key, algorithm=self._algorithm, headers=header)


def _signing_key(settings: Settings) -> tuple[Any, str]:  # bytes or a private key: what PyJWT takes
    if settings.jwt_algorithm == "HS256":
        secret = hs256_key(settings)
        return secret, key_id(derived_key(secret, "kid"))
    if settings.jwt_private_key_file is None:
        raise SettingsProblem("JWT_PRIVATE_KEY_FILE: must name the signing key's file when JWT_ALGORITHM is EdDSA.")
    key = _private_key(settings.jwt_private_key_file)
    return key, public_key_id(key.public_key())


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsProblem(f"JWT_PRIVATE_KEY_FILE: {path} cannot be read as a PEM private key.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsProblem(f"JWT_PRIVATE_KEY_FILE: {path} holds no Ed25519 key.")
    return key
