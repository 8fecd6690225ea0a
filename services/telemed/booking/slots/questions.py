"""What the shelf asks Redis, a function for each question."""

import secrets
from datetime import timedelta
from typing import Any

from telemed.booking.slots.keys import GONE_WINDOW
from telemed.booking.slots.pages import State
from telemed.kernel.cache.line import Command, Line, first_refusal
from telemed.kernel.cache.shared import SharedQuestions

# A member of every set of gone notes from its beginning. No opening of a slot is called so.
MARK = "complete"
_GENERATION_LIVES = timedelta(days=1)


async def read_page(
    questions: SharedQuestions, key: str, generation_key: str, state_key: str, notes_key: str
) -> tuple[bytes | None, State | None]:
    """Get a page, and its scope's generation and state word if the scope has both and all of its notes."""
    commands = ("GET", key), ("GET", generation_key), ("GET", state_key), ("SISMEMBER", notes_key, MARK)
    return await questions.ask(key, commands, _page_and_state)


def _page_and_state(replies: list[Any]) -> tuple[bytes | None, State | None]:
    raw, generation, word, is_marked = replies
    is_over = generation is None or word is None or not is_marked
    return (raw if isinstance(raw, bytes) else None), (None if is_over else (_word(generation), _word(word)))


async def store_page(
    questions: SharedQuestions, key: str, store: Command, words: tuple[str, str]
) -> tuple[object, ...]:
    """Store a page, and then get the words of its scope's state."""
    return await questions.ask(key, (store, ("MGET", *words)), _words)


def _words(replies: list[Any]) -> tuple[object, ...]:
    _, state = replies
    return tuple(state) if isinstance(state, list) else ()


async def begin_generation(line: Line, generation_key: str, wanted: str, state_key: str, notes_keys: list[str]) -> None:
    """Begin a generation and its sets of notes, both or neither: a mark under the old one would hide a loss."""
    marks = [command for key in notes_keys for command in (("SADD", key, MARK), expiry(key))]
    *_, done = await line.ask(
        ("MULTI",), set_word(generation_key, wanted), set_word(state_key, secrets.token_hex(8)), *marks, ("EXEC",)
    )
    if not isinstance(done, list):
        raise TypeError("not an answer to EXEC")
    first_refusal(done)


async def ask_gone(
    questions: SharedQuestions, keys: list[str], openings: list[str], first: Command | None
) -> list[Any]:
    """Ask of each set of notes, all of one scope, which openings it names; *first* is done before."""
    notes = [("SMISMEMBER", key, *openings) for key in keys]
    commands = notes if first is None else [first, *notes]
    return await questions.ask(keys[0], commands, lambda replies: replies[-len(keys) :])


def set_word(key: str, word: str) -> Command:
    """Replace a generation or a state word."""
    return "SET", key, word, "EX", int(_GENERATION_LIVES.total_seconds())


def expiry(notes_key: str) -> Command:
    """Let a set of notes outlive every page that it may be about."""
    return "EXPIRE", notes_key, int(3 * GONE_WINDOW.total_seconds())


def _word(answer: object) -> bytes:
    if not isinstance(answer, bytes):
        raise TypeError("not a word of ours")
    return answer
