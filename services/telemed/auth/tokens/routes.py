"""The public keys."""

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Response

from telemed.auth.tokens.schemas import KeySet, PublicKey
from telemed.contracts.access import AnybodyReads
from telemed.kernel.http.strict_json import StrictRoute
from telemed.kernel.problems import raises

router = APIRouter(prefix="/auth", tags=["identity"], route_class=StrictRoute)

# Short enough that a new key is known everywhere before it signs, if it is published some minutes ahead.
_CACHED = "public, max-age=300"


@router.get("/jwks.json", response_model=KeySet, responses=raises(), summary="See the public keys")
async def jwks(work: AnybodyReads, response: Response) -> KeySet:
    """Give the keys by which access tokens can be verified without asking; none while a shared secret signs them."""
    response.headers["Cache-Control"] = _CACHED
    return KeySet(
        keys=[
            PublicKey(kid=key_id, x=_public_bytes(key))
            for key_id, key in work.resources.verifier.keys.items()
            if isinstance(key, Ed25519PublicKey)  # a shared secret is bytes, and never leaves
        ]
    )


def _public_bytes(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
