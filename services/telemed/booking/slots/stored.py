"""The form in which a page lies in Redis: a head of JSON, and below it what is shown, a slot to a line. Pure.

JSON within JSON would cost the most of all that keeping a page does.
"""

import json
import re
from datetime import datetime
from typing import NamedTuple

from telemed.booking.slots.pages import Candidate, SlotPage
from telemed.kernel.cache.aside import Entry
from telemed.kernel.text import rfc3339

_OPENING = re.compile(r"[0-9a-f]{32}/[0-9]+")


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
        "candidates": [f"{c.opening} {rfc3339(c.starts_at)}" for c in entry.value.candidates],
    }
    return "\n".join((json.dumps(head), *(c.json for c in entry.value.candidates)))


def read(raw: bytes, key: str) -> StoredPage:
    """Read what was written for this key.

    Raises:
        NotThePage: it is another key's (clients of Redis have mixed up replies), or no page at all.
    """
    try:
        head, *cards = raw.decode().split("\n")
        known = json.loads(head)
        name = known["key"]
        page = SlotPage(
            tuple(_candidate(named, card) for named, card in zip(known["candidates"], cards, strict=True)),
            bool(known["has_more"]),
            int(known["limit"]),
        )
        stored = StoredPage(page, datetime.fromisoformat(known["loaded_at"]), str(known["generation"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotThePage("not a page") from error
    if name != key:
        raise NotThePage("another key's page")
    return stored


def _candidate(named: str, card: str) -> Candidate:
    opening, _, starts_at = named.partition(" ")
    if not _OPENING.fullmatch(opening):
        raise ValueError("not an opening")
    return Candidate(opening, datetime.fromisoformat(starts_at), card)
