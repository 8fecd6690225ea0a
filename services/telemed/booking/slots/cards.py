"""What search shows of an open slot: a `FoundSlot` as JSON, byte for byte what pydantic makes of it. Pure.

The database writes it. A page that is not in the cache has dozens of slots, and to read their columns and write their
JSON here took a third of such a search (decision 0034). It costs the database nothing, as each doctor's card lies ready
there (migration 0018) and one long value is less to send than hundreds of short ones.
"""

import re
from datetime import datetime
from typing import NamedTuple

# JSON has no line break and no tab but as an escape. So a slot is two lines (`booking.opening_lines`, migration 0019),
# and a tab says where an instant ends that lacks its Z: PostgreSQL writes such an instant several times as fast as one
# of any other form.
_END = '"\t'
# Of a fraction it leaves out the zeros at the end; `rfc3339` (kernel/text.py) does not.
_SHORT_FRACTION = re.compile(r'\.(\d{1,5})"\t')
_STARTS_AT = re.compile(r'\{"id":"[0-9a-f-]{36}","starts_at":"([0-9T:.-]+Z)","ends_at":"')


class Found(NamedTuple):
    """Open slots in the order of time: how each opening is called (`opening_name`), and what is shown of each."""

    openings: tuple[str, ...]
    cards: tuple[str, ...]


def lines_of(slot: str) -> str:
    """Write the SQL of the lines of the row *slot*, which has the columns of a slot and its doctor's *card*."""
    return f"booking.opening_lines({slot}.id, {slot}.version, {slot}.starts_at, {slot}.ends_at, {slot}.card)"


def found_in(lines: str | None) -> Found:
    """Read the lines of slots, or that there are none."""
    if lines is None:
        return Found((), ())
    parts = _SHORT_FRACTION.sub(_whole_fraction, lines).replace(_END, 'Z"').split("\n")
    # PostgreSQL writes ids with dashes.
    return Found(tuple(" ".join(parts[::2]).replace("-", "").split(" ")), tuple(parts[1::2]))


def starts_at(found_slot: str) -> datetime:
    """Read when the slot begins.

    Raises:
        ValueError: this is no slot.
    """
    written = _STARTS_AT.match(found_slot)
    if written is None:
        raise ValueError("not a slot")
    return datetime.fromisoformat(written[1])


def _whole_fraction(short: re.Match[str]) -> str:
    return f".{short[1]:0<6}{_END}"
