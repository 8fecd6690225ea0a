"""What a page shows, and where the next one begins, when slots on it have gone."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from telemed.booking.slots.pages import Candidate, SlotPage, opening_name
from telemed.kernel.paging import Cursor

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
CANDIDATES = tuple(
    Candidate(opening_name(UUID(int=number), 1), AT + timedelta(hours=number), json.dumps({"id": number}))
    for number in range(4)
)
OPENINGS = [candidate.opening for candidate in CANDIDATES]


def shown(page: SlotPage) -> tuple[list[int], int | None]:
    """Give the ids that a page shows, and the one after which the next page begins."""
    document = json.loads(page.render())
    cursor = Cursor.decode(document["next_cursor"])
    return [item["id"] for item in document["items"]], cursor.id.int if cursor is not None else None


def test_the_next_page_begins_after_what_is_shown() -> None:
    """What is loaded beyond it takes the places of those that go."""
    page = SlotPage(CANDIDATES, has_more=True, limit=2)

    assert shown(page) == ([0, 1], 1)
    assert shown(page.without(OPENINGS[:1], now=AT - timedelta(hours=1))) == ([1, 2], 2)


def test_a_page_of_which_nothing_is_left_leads_on() -> None:
    """To those that were never loaded, however it came to be empty: only a last page has no cursor."""
    page = SlotPage(CANDIDATES, has_more=True, limit=2)
    before = AT - timedelta(hours=1)

    assert shown(page.without(OPENINGS, now=before)) == ([], 3)
    assert shown(page.without(OPENINGS[2:], now=before).without(OPENINGS[:2], now=before)) == ([], 3)
    assert shown(page.without([], now=AT + timedelta(days=1))) == ([], 3)


def test_a_last_page_leads_nowhere() -> None:
    """Also when nothing is left of it, or nothing was there."""
    page = SlotPage(CANDIDATES, has_more=False, limit=4)

    assert shown(page) == ([0, 1, 2, 3], None)
    assert shown(page.without(OPENINGS, now=AT)) == ([], None)
    assert shown(SlotPage((), has_more=False, limit=2)) == ([], None)
