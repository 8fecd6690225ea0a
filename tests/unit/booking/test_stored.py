"""What lies under a page's key is that page, or nothing: clients of Redis have mixed up replies before."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.support.pages import page_of

from telemed.booking.slots import stored
from telemed.kernel.cache.aside import Entry

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
SLOTS = [(UUID(int=number), AT + timedelta(hours=number)) for number in (1, 2)]
PAGE = page_of(SLOTS, has_more=True, limit=20, version=3)
EMPTY = page_of([], has_more=False, limit=20)
RAW = stored.written("key", "word", Entry(PAGE, AT))
HEAD, NAMES, *CARDS = RAW.split("\n")


def test_is_read_as_it_was_written() -> None:
    """Page, instant and generation; also a page without slots."""
    assert stored.read(RAW.encode(), "key") == (PAGE, AT, "word")
    assert stored.read(stored.written("key", "word", Entry(EMPTY, AT)).encode(), "key") == (EMPTY, AT, "word")


def test_of_another_key_it_is_not_the_page() -> None:
    """However good a page it is."""
    with pytest.raises(stored.NotThePage, match="another key's page"):
        stored.read(RAW.encode(), "other")


@pytest.mark.parametrize(
    "change",
    [
        {"loaded_at": 5},
        {"loaded_at": "now"},
        {"limit": None},
    ],
    ids=str,
)
def test_what_has_another_form_is_no_page(change: dict[str, Any]) -> None:
    """A head of which anything is wrong."""
    head = json.dumps(json.loads(HEAD) | change)
    with pytest.raises(stored.NotThePage, match="not a page"):
        stored.read("\n".join((head, NAMES, *CARDS)).encode(), "key")


@pytest.mark.parametrize(
    "lines",
    [
        [NAMES.replace("/", "-"), *CARDS],
        [NAMES.upper().replace("/", "/x"), *CARDS],
        [NAMES.split()[0], *CARDS],
        [NAMES, CARDS[0]],
        [NAMES, *CARDS, ""],
        [NAMES, CARDS[0], "{}"],
        [NAMES, CARDS[0], CARDS[1].replace("-28T", "-31T")],
    ],
    ids=range(7),
)
def test_what_is_below_the_head_is_looked_at(lines: list[str]) -> None:
    """Names that are none, not as many as there are slots, and slots that begin at no time."""
    with pytest.raises(stored.NotThePage, match="not a page"):
        stored.read("\n".join((HEAD, *lines)).encode(), "key")


@pytest.mark.parametrize("raw", [b"", b"5", b"[]", b"{}", b"\xff", b"[" * 100_000, HEAD.encode()], ids=range(7))
def test_what_is_something_else_is_no_page(raw: bytes) -> None:
    """Nothing, no JSON, no text, a page without its slots."""
    with pytest.raises(stored.NotThePage, match="not a page"):
        stored.read(raw, "key")
