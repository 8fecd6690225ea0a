"""Stored replies that carry tokens: the database alone must not give anybody a session."""

import hashlib
import hmac
import os
from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telemed.kernel.idempotency import Once, ReplyVault
from telemed.kernel.keys import derived_key

_NONCE_BYTES = 12


class SealedReplies(ReplyVault):
    """Seals a reply so that opening it takes the deployment's secret and what the client sent.

    The key is made from the secret, the idempotency key and the password or refresh token of the request, of which
    the database holds at most the second.
    """

    def __init__(self, secret: bytes, *, idempotency_key: str, proof: str) -> None:
        digests = hashlib.sha256(idempotency_key.encode()).digest() + hashlib.sha256(proof.encode()).digest()
        self._cipher = AESGCM(hmac.new(derived_key(secret, "sealed-reply"), digests, hashlib.sha256).digest())

    def seal(self, body: bytes) -> bytes:
        """Encrypt and authenticate the body."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, body, None)

    def open(self, stored: bytes) -> bytes:
        """Give the body back. The request's hash was compared before, so the proof is the same as it was."""
        return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], None)


def sealed(once: Once | None, *, secret: bytes, proof: str) -> Once | None:
    """Make the key keep its reply sealed."""
    if once is None:
        return None
    return replace(once, vault=SealedReplies(secret, idempotency_key=once.key, proof=proof))
