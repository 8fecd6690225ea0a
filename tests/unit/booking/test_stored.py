"""What lies under a page's key is that page, or nothing: clients of Redis have mixed up replies before."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from telemed.booking.slots import stored
from telemed.booking.slots.pages import Candidate, SlotPage, opening_name
from telemed.kernel.cache.aside import Entry

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
CANDIDATES = tuple(
    Candidate(opening_name(UUID(int=number), 3), AT + timedelta(hours=number), json.dumps({"id": number}))
    for number in (1, 2)
)
RAW = stored.written("key", "word", Entry(SlotPage(CANDIDATES, has_more=True, limit=20), AT))
HEAD, *CARDS = RAW.split("\n")


def test_is_read_as_it_was_written() -> None:
    """Page, instant and generation."""
    assert stored.read(RAW.encode(), "key") == (SlotPage(CANDIDATES, has_more=True, limit=20), AT, "word")


def test_of_another_key_it_is_not_the_page() -> None:
    """However good a page it is."""
    with pytest.raises(stored.NotThePage, match="another key's page"):
        stored.read(RAW.encode(), "other")


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": ["not-an-opening 2026-11-28T09:00:00Z"] * 2},
        {"candidates": [CANDIDATES[0].opening + " yesterday"] * 2},
        {"candidates": []},
        {"candidates": None},
        {"loaded_at": 5},
        {"loaded_at": "now"},
        {"limit": None},
    ],
    ids=str,
)
def test_what_has_another_form_is_no_page(change: dict[str, Any]) -> None:
    """A head of which anything is wrong, or that has not as many slots as there are lines."""
    head = json.dumps(json.loads(HEAD) | change)
    with pytest.raises(stored.NotThePage, match="not a page"):
        stored.read("\n".join((head, *CARDS)).encode(), "key")


@pytest.mark.parametrize("raw", [b"", b"5", b"[]", b"{}", b"\xff", b"[" * 100_000, HEAD.encode()], ids=range(7))
def test_what_is_something_else_is_no_page(raw: bytes) -> None:
    """Nothing, no JSON, no text, a page without its slots."""
    with pytest.raises(stored.NotThePage, match="not a page"):
        stored.read(raw, "key")
