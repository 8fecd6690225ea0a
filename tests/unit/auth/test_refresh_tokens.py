"""Refresh tokens as bytes."""

from uuid import UUID

import pytest

from telemed.auth.tokens.refresh import Presented, RefreshTokens

SESSION = UUID("0198f3c2-7a10-7c3e-9a54-3f1c5b7d2e90")
TOKENS = RefreshTokens(b"secret")


def test_the_same_token_is_made_again() -> None:
    """The same session and generation give the same bytes; another generation or session gives others."""
    assert TOKENS.make(SESSION, 1) == TOKENS.make(SESSION, 1)
    assert len({TOKENS.make(SESSION, 1), TOKENS.make(SESSION, 2), TOKENS.make(UUID(int=1), 1)}) == 3


def test_a_token_says_what_it_was_made_of() -> None:
    """Reading gives back session and generation."""
    assert TOKENS.read(TOKENS.make(SESSION, 2**31 - 1)) == Presented(SESSION, 2**31 - 1)


def test_a_token_of_another_secret_is_not_ours() -> None:
    """Whoever does not know the secret makes none."""
    assert RefreshTokens(b"another").read(TOKENS.make(SESSION, 1)) is None


def test_no_single_change_is_overlooked() -> None:
    """Every character counts, the last one's unused bits included."""
    token = TOKENS.make(SESSION, 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place in range(len(token)):
        for other in alphabet:
            if other != token[place]:
                assert TOKENS.read(token[:place] + other + token[place + 1 :]) is None


@pytest.mark.parametrize("token", ["", "x", "A" * 70, "é" * 70, "+/" * 35, "=" * 70, "A" * 512])
def test_what_is_no_token_is_not_read(token: str) -> None:
    """Nonsense is refused without an exception."""
    assert TOKENS.read(token) is None
