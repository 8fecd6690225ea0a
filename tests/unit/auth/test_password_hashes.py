"""How passwords are hashed."""

from collections.abc import Callable

import bcrypt
import pytest

from telemed.auth.passwords.hashing import PasswordHashes, cost_of

PASSWORD = "four cats under one umbrella"


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The rounds of bcrypt that were computed since the last question: the time, without a clock."""
    spent: list[int] = []
    checkpw, hashpw = bcrypt.checkpw, bcrypt.hashpw

    def counted_check(password: bytes, hashed: bytes) -> bool:
        spent.append(2 ** cost_of(hashed.decode()))
        return checkpw(password, hashed)

    def counted_hash(password: bytes, salt: bytes) -> bytes:
        spent.append(2 ** int(salt[4:6]))
        return hashpw(password, salt)

    def total() -> int:
        result = sum(spent)
        spent.clear()
        return result

    monkeypatch.setattr(bcrypt, "checkpw", counted_check)
    monkeypatch.setattr(bcrypt, "hashpw", counted_hash)
    return total


@pytest.mark.parametrize("password", ["x" * 256, "😀" * 64, "a b", "é" * 100])
def test_any_password_can_be_hashed_and_compared(password: str) -> None:
    """bcrypt's bound of 72 bytes is not ours, and the end of a long password counts."""
    hashes = PasswordHashes(b"secret", cost=4)
    stored = hashes.make(password)
    assert hashes.matches(password, stored)
    assert not hashes.matches(password + "x", stored)
    assert not hashes.matches(password[:-1] + "y", stored)


def test_a_hash_is_worth_nothing_without_the_secret() -> None:
    """A stolen database alone cannot be guessed against."""
    stored = PasswordHashes(b"secret", cost=4).make(PASSWORD)
    assert not PasswordHashes(b"another", cost=4).matches(PASSWORD, stored)
    assert not bcrypt.checkpw(PASSWORD.encode(), stored.encode())


def test_an_unknown_user_takes_exactly_as_long(rounds: Callable[[], int]) -> None:
    """Nobody's hash, a current one, one of a lower cost and one that is none: the same number of rounds."""
    hashes = PasswordHashes(b"secret", cost=6)
    current, old = hashes.make(PASSWORD), PasswordHashes(b"secret", cost=4).make(PASSWORD)
    rounds()
    spent = []
    for stored in (None, current, old, "not a hash at all"):
        hashes.matches("wrong", stored)
        spent.append(rounds())
    assert spent == [2**6] * 4


def test_an_old_hash_is_recognised() -> None:
    """A hash of a lower cost is to be replaced; one of today's, or of a higher one, is not."""
    old = PasswordHashes(b"secret", cost=4).make(PASSWORD)
    assert PasswordHashes(b"secret", cost=5).is_outdated(old)
    assert not PasswordHashes(b"secret", cost=4).is_outdated(old)
