"""What a page shows, and where the next one begins, when slots on it have gone."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.support.pages import page_of

from telemed.booking.slots.pages import SlotPage
from telemed.kernel.paging import Cursor

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
SLOTS = [(UUID(int=number), AT + timedelta(hours=number)) for number in range(4)]
OPENINGS = page_of(SLOTS, has_more=False, limit=4).openings


def shown(page: SlotPage) -> tuple[list[int], int | None]:
    """Give the ids that a page shows, and the one after which the next page begins."""
    document = json.loads(page.render())
    cursor = Cursor.decode(document["next_cursor"])
    return [UUID(item["id"]).int for item in document["items"]], cursor.id.int if cursor is not None else None


def test_the_next_page_begins_after_what_is_shown() -> None:
    """What is loaded beyond it takes the places of those that go."""
    page = page_of(SLOTS, has_more=True, limit=2)

    assert shown(page) == ([0, 1], 1)
    assert shown(page.without(set(OPENINGS[:1]), now=AT - timedelta(hours=1))) == ([1, 2], 2)


def test_a_page_of_which_nothing_is_left_leads_on() -> None:
    """To those that were never loaded, however it came to be empty: only a last page has no cursor."""
    page = page_of(SLOTS, has_more=True, limit=2)
    before = AT - timedelta(hours=1)

    assert shown(page.without(set(OPENINGS), now=before)) == ([], 3)
    assert shown(page.without(set(OPENINGS[2:]), now=before).without(set(OPENINGS[:2]), now=before)) == ([], 3)
    assert shown(page.without(set(), now=AT + timedelta(days=1))) == ([], 3)


def test_a_last_page_leads_nowhere() -> None:
    """Also when nothing is left of it, or nothing was there."""
    page = page_of(SLOTS, has_more=False, limit=4)

    assert shown(page) == ([0, 1, 2, 3], None)
    assert shown(page.without(set(OPENINGS), now=AT)) == ([], None)
    assert shown(SlotPage((), (), has_more=False, limit=2)) == ([], None)


def test_what_has_begun_is_left_out() -> None:
    """To the microsecond: a slot that begins now has begun."""
    page = page_of(SLOTS, has_more=False, limit=4)

    assert shown(page.without(set(), now=AT + timedelta(hours=1)))[0] == [2, 3]
    assert shown(page.without({OPENINGS[2]}, now=AT + timedelta(hours=1) - timedelta(microseconds=1)))[0] == [1, 3]


def test_a_page_of_which_nothing_goes_stays_itself() -> None:
    """Whoever remembers it need not look at it again."""
    page = page_of(SLOTS, has_more=False, limit=4)

    assert page.without({"another"}, now=AT - timedelta(seconds=1)) is page
