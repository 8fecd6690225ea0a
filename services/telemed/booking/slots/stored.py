"""The form in which a page lies in Redis: a head of JSON, the names of its openings, and a slot to a line. Pure.

JSON within JSON would cost the most of all that keeping a page does.
"""

import json
import re
from datetime import datetime
from typing import NamedTuple

from telemed.booking.slots.cards import starts_at
from telemed.booking.slots.pages import SlotPage
from telemed.kernel.cache.aside import Entry

_OPENINGS = re.compile(r"(?:[0-9a-f]{32}/[0-9]+ ?)*")


class StoredPage(NamedTuple):
    """A page, when it was begun to be loaded, and the generation that it was loaded for."""

    page: SlotPage
    loaded_at: datetime
    generation: str


class NotThePage(ValueError):
    """What lies under a page's key is not that page."""


def written(key: str, generation: str, entry: Entry[SlotPage]) -> str:
    """Write a page down."""
    head = {
        "key": key,
        "generation": generation,
        "loaded_at": entry.loaded_at.isoformat(),
        "has_more": entry.value.has_more,
        "limit": entry.value.limit,
    }
    return "\n".join((json.dumps(head), " ".join(entry.value.openings), *entry.value.cards))


def read(raw: bytes, key: str) -> StoredPage:
    """Read what was written for this key.

    Raises:
        NotThePage: it is another key's (clients of Redis have mixed up replies), or no page at all.
    """
    try:
        head, names, *cards = raw.decode().split("\n")
        known = json.loads(head)
        name = known["key"]
        page = SlotPage(*_slots(names, cards), bool(known["has_more"]), int(known["limit"]))
        stored = StoredPage(page, datetime.fromisoformat(known["loaded_at"]), str(known["generation"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotThePage("not a page") from error
    if name != key:
        raise NotThePage("another key's page")
    return stored


def _slots(names: str, cards: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    openings = tuple(names.split())
    if not _OPENINGS.fullmatch(names) or len(openings) != len(cards):
        raise ValueError("not as many openings as slots")
    for card in cards:
        starts_at(card)
    return openings, tuple(cards)
