"""Who is calling: local verification of access tokens. Issuing them is the auth service's business alone."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from telemed.kernel.keys import derived_key
from telemed.kernel.problems import NotAuthenticated
from telemed.kernel.settings import Settings, SettingsProblem

TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068's media type for access tokens, not a secret
MAX_TOKEN_LENGTH = 4096
_REQUIRED = ["iss", "aud", "exp", "iat", "sub", "sid", "jti"]
_TYPES = [int, int, str, str, str]  # of those after issuer and audience, as we issue them
_MALFORMED = (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError)
# Verified signatures, so that a client's burst of requests pays for the first only: EdDSA costs 145 µs, a look-up 0.2.
_REMEMBERED = 4096
_HEADERS = 8  # one for each key in use, with room for one that is being replaced


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says. The role is not among it: it is read where it cannot be out of date."""

    user_id: UUID
    session_id: UUID
    expires_at: datetime


class TokenVerifier:
    """Checks access tokens with the keys, the one algorithm, the issuer and the audience of this deployment."""

    def __init__(self, settings: Settings) -> None:
        self._algorithm = settings.jwt_algorithm
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self.keys = verification_keys(settings)
        self._seen: OrderedDict[str, Claims] = OrderedDict()
        self._headers: dict[str, bytes] = {}

    def verify(self, token: str, *, now: datetime) -> Claims:
        """Check the token and return what it says.

        Raises:
            NotAuthenticated: it is malformed, forged, expired, or meant for somebody else. Says no more than that.
        """
        claims = self._seen.get(token)
        if claims is None:
            claims = self._accept(token) or self._check(token)
            self._seen[token] = claims
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        if claims.expires_at <= now:
            raise NotAuthenticated("The access token has expired; refresh it.")
        return claims

    def _accept(self, token: str) -> Claims | None:
        """Accept a token in the very form in which ours are issued, as PyJWT would; None says that PyJWT must judge.

        PyJWT takes a tenth of a booking's time: it reads the header twice and prepares the key anew. This refuses
        nothing, and accepts only below a header that PyJWT has accepted, with HS256, whose signatures cost little.
        """
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        key = self._headers.get(header)
        if key is None or len(token) > MAX_TOKEN_LENGTH:
            return None
        try:
            # Written as it should be and not read as it is: there is one way to write it.
            expected = urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=")
            if not hmac.compare_digest(expected, signature.encode()):
                return None
            said = json.loads(urlsafe_b64decode(payload + "=="))
            is_ours = (said["iss"], said["aud"]) == (self._issuer, self._audience)
            return _claims(said) if is_ours and [type(said[name]) for name in _REQUIRED[2:]] == _TYPES else None
        except _MALFORMED:
            return None

    def _check(self, token: str) -> Claims:
        invalid = NotAuthenticated("The access token is not valid.")
        if len(token) > MAX_TOKEN_LENGTH:
            raise invalid
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TOKEN_TYPE or header.get("alg") != self._algorithm:
                raise invalid
            key = self.keys[str(header.get("kid"))]
            payload = jwt.decode(
                token,
                key=key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # The instants are compared with our clock by `verify`, on every use and not only on the first.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = _claims(payload)
        except (jwt.PyJWTError, *_MALFORMED) as error:
            raise invalid from error
        if self._algorithm == "HS256" and len(self._headers) < _HEADERS:
            self._headers[token.partition(".")[0]] = key
        return claims


def _claims(payload: dict[str, Any]) -> Claims:  # of values that are read here
    return Claims(
        user_id=UUID(payload["sub"]),
        session_id=UUID(payload["sid"]),
        expires_at=datetime.fromtimestamp(int(payload["exp"]), UTC),
    )


def key_id(material: bytes) -> str:
    """Name a key by its content, so that rotation needs no register."""
    return hashlib.sha256(b"telemed-kid/" + material).hexdigest()[:16]


def verification_keys(settings: Settings) -> dict[str, Any]:  # values are what PyJWT takes: bytes or a public key
    """Give the keys by which access tokens are verified, by key id.

    Raises:
        SettingsProblem: a key file is missing or holds no Ed25519 public key.
    """
    if settings.jwt_algorithm == "HS256":
        secret = hs256_key(settings)
        return {key_id(derived_key(secret, "kid")): secret}
    return dict(_public_key(path) for path in settings.jwt_public_key_files)


def hs256_key(settings: Settings) -> bytes:
    """Give the key that signs and verifies with HS256."""
    if settings.jwt_secret is None:
        raise SettingsProblem("JWT_SECRET: must be set when JWT_ALGORITHM is HS256.")
    return settings.jwt_secret.get_secret_value().encode()


def public_key_id(key: Ed25519PublicKey) -> str:
    """Name an Ed25519 key by its 32 public bytes."""
    return key_id(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def _public_key(path: Path) -> tuple[str, Ed25519PublicKey]:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsProblem(f"JWT_PUBLIC_KEY_FILES: {path} cannot be read as a PEM public key.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsProblem(f"JWT_PUBLIC_KEY_FILES: {path} holds no Ed25519 key.")
    return public_key_id(key), key
