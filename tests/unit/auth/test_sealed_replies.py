"""Stored replies that carry tokens."""

import pytest
from cryptography.exceptions import InvalidTag

from telemed.auth.sealed_replies import SealedReplies

BODY = b'{"access_token": "abc"}'


def test_a_sealed_reply_opens_for_the_same_request_only() -> None:
    """The secret, the idempotency key and the password are all needed."""
    vault = SealedReplies(b"secret", idempotency_key="k", proof="password")
    stored = vault.seal(BODY)
    assert BODY not in stored
    assert SealedReplies(b"secret", idempotency_key="k", proof="password").open(stored) == BODY
    for other in (
        SealedReplies(b"another", idempotency_key="k", proof="password"),
        SealedReplies(b"secret", idempotency_key="l", proof="password"),
        SealedReplies(b"secret", idempotency_key="k", proof="passwore"),
    ):
        with pytest.raises(InvalidTag):
            other.open(stored)


def test_two_seals_of_one_reply_differ() -> None:
    """No two seals share a nonce."""
    vault = SealedReplies(b"secret", idempotency_key="k", proof="password")
    assert vault.seal(BODY) != vault.seal(BODY)
