"""Which passwords are accepted."""

import pytest
from pydantic import TypeAdapter, ValidationError
from zxcvbn import zxcvbn

from telemed.auth.passwords.passwords import estimated_guesses
from telemed.auth.passwords.rules import (
    ENOUGH_GUESSES,
    is_too_guessable,
    length_problem,
    normalised_password,
    personal_words,
)
from telemed.auth.passwords.schemas import GivenPassword, NewPassword

NEW = TypeAdapter(NewPassword)
GIVEN = TypeAdapter(GivenPassword)
ABOUT = personal_words("alice.smith@example.com", "Alice Smith")


def is_refused(password: str) -> bool:
    return is_too_guessable(password, estimated_guesses=estimated_guesses(password, ABOUT), about=ABOUT)


@pytest.mark.parametrize("password", ["8 charac", "x" * 14, "é" * 14])
def test_a_short_password_is_refused_with_advice(password: str) -> None:
    """What is too short is answered with how to do better, not only with a number."""
    with pytest.raises(ValidationError, match=r"at least 15 characters.*words"):
        NEW.validate_python(password)


@pytest.mark.parametrize("password", ["x" * 15, "x" * 256, "😀" * 64, " " * 15, "  leading and trailing  "])
def test_length_is_counted_in_code_points(password: str) -> None:
    """From 15 to 256 characters, whatever each takes in bytes; nothing is trimmed."""
    assert NEW.validate_python(password) == password


def test_a_password_longer_than_the_bound_is_refused() -> None:
    """A megabyte is not hashed."""
    for password in ("x" * 257, "x" * 10_000_000):
        with pytest.raises(ValidationError):
            NEW.validate_python(password)
        with pytest.raises(ValidationError):
            GIVEN.validate_python(password)


def test_letters_count_after_normalisation() -> None:
    """Fourteen letters do not become fifteen characters by typing one of them decomposed."""
    assert length_problem(normalised_password("x" * 13 + "e\u0301")) is not None


def test_the_same_password_typed_on_another_keyboard_is_the_same() -> None:
    """Composition and the kind of space differ between keyboards; what is read as different stays different."""
    assert normalised_password("cafe\u0301\u00a0au lait") == "café au lait"
    assert normalised_password("x²") != normalised_password("x2")


@pytest.mark.parametrize("character", ["\x00", "\n", "\x7f", "\x85"])
def test_control_characters_are_refused(character: str) -> None:
    """Nobody means to type them."""
    for kind in (NEW, GIVEN):
        with pytest.raises(ValidationError):
            kind.validate_python("fifteen letters" + character)


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password1234567",
        "123456789012345",
        "aaaaaaaaaaaaaaaaaaaa",
        "qwertyuiopasdfgh",
        "iloveyouiloveyou",
        "p@ssw0rdp@ssw0rd",
        "alice.smith@example.com",
        "alicealicealicealice",
        "Alice Smith Alice Smith",
        "alice-smith-alice-2026",
    ],
)
def test_what_people_choose_is_too_guessable(password: str) -> None:
    """Common passwords, their repetition, keyboard rows, and one's own name."""
    assert is_refused(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "four cats under one umbrella",
        "😀" * 64,
        "यह एक लंबा वाक्य है",
        "kx93.mvq02/plw7z",
        "alice likes umbrellas",
    ],
)
def test_what_is_hard_to_guess_is_accepted(password: str) -> None:
    """Phrases and random characters, in any script; 64 characters of four bytes among them."""
    assert not is_refused(password)


def test_the_estimate_is_bounded_for_the_longest_password() -> None:
    """zxcvbn itself refuses more than 72 characters; we judge the beginning of a longer one."""
    longest = "".join(chr(33 + index * 7 % 90) for index in range(256))
    with pytest.raises(ValueError, match="max length"):
        zxcvbn(longest)
    assert estimated_guesses(longest, ["x" * 64, "y" * 64]) > ENOUGH_GUESSES


def test_personal_words_are_taken_apart_and_bounded() -> None:
    """Parts of a name count, single letters do not, and a strange name cannot make the estimate slow."""
    assert personal_words("ann.lee@example.com", "Ann B Lee") == [
        "ann.lee@example.com",
        "ann b lee",
        "ann",
        "lee",
        "example",
        "com",
    ]
    assert len(personal_words(" ".join(f"w{number}xyz" for number in range(200)))) <= 40
