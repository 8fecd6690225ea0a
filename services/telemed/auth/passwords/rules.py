"""Which passwords are accepted. Pure: the estimate of how guessable one is comes in as a number.

Source: NIST SP 800-63B-4, section 3.1.1: length instead of composition rules, 15 characters without a second factor,
a blocklist, no truncation.
"""

import re
import unicodedata
from collections.abc import Sequence

MIN_LENGTH = 15
MAX_LENGTH = 256  # far above any passphrase; a bound only so that nobody sends megabytes to be hashed

# One guess a minute is what throttling leaves to somebody who guesses at one account: 10^7 guesses take 19 years.
# Guessing against a stolen database needs the secret of the pre-hash as well, which the database does not hold.
ENOUGH_GUESSES = 10**7

# zxcvbn counts "Alice Smith Alice Smith" as four words in some order. Whatever is left when the words about oneself
# are taken out must be more than a number or a year put behind them.
ENOUGH_BESIDES_ONESELF = 6
_SEPARATORS = frozenset(" .,-_@+/")

# zxcvbn knows ASCII and takes any other character for one of ten. Unicode has about 150,000 of them.
_CHARACTERS_BEYOND_ASCII = 150_000
_TAKEN_FOR = 10

TOO_SHORT = (
    f"Use at least {MIN_LENGTH} characters. Four or five words that do not belong together are easy to remember and "
    "hard to guess; spaces are welcome."
)
TOO_LONG = f"Use at most {MAX_LENGTH} characters."
TOO_GUESSABLE = (
    "This password is easy to guess: it is common, repeats itself, or is made of your name or e-mail address. Four or "
    "five words that do not belong together are easy to remember and hard to guess."
)


def normalised_password(password: str) -> str:
    """Give the one form in which a password is counted, judged and hashed.

    RFC 8265's OpaqueString: every space becomes U+0020 and the text NFC, as keyboards differ in how they compose ``é``
    and in which space they type. Not NFKC: it folds what people see and mean as different (``²`` and ``2``), and gives
    guessers a smaller space. Nothing is trimmed or folded in case.
    """
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


def length_problem(password: str) -> str | None:
    """Say what is wrong with the length in code points of a normalised password."""
    if len(password) < MIN_LENGTH:
        return TOO_SHORT
    return TOO_LONG if len(password) > MAX_LENGTH else None


def is_too_guessable(password: str, *, estimated_guesses: float, about: Sequence[str] = ()) -> bool:
    """Tell whether somebody who knows what people choose, and these words about this one, would find it too soon."""
    if _letters_besides(password, about) < ENOUGH_BESIDES_ONESELF:
        return True
    if not password.isascii():
        estimated_guesses *= _CHARACTERS_BEYOND_ASCII / _TAKEN_FOR
    return estimated_guesses < ENOUGH_GUESSES


def _letters_besides(password: str, words: Sequence[str]) -> int:
    rest = password.lower()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, " ")
    return sum(character not in _SEPARATORS for character in rest)


def personal_words(*texts: str) -> list[str]:
    """Take the words apart that a guesser would try first because they are about this person."""
    words = [text.lower()[:64] for text in texts]
    for text in texts:
        words += [part for part in re.split(r"[\W_]+", text.lower()[:256]) if len(part) >= 3]
    return list(dict.fromkeys(words))[:40]
