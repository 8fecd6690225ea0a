"""Notes of slots that are gone lie in windows of five minutes: whichever holds one, it is found."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from tests.support.pages import page_of

from telemed.booking.slots.keys import GONE_WINDOW, gone_key, page_key, scope_in, window_of
from telemed.booking.slots.pages import SlotPage
from telemed.booking.slots.schemas import SearchSlots
from telemed.booking.slots.shelf import GoneSlot, SlotShelf
from telemed.kernel.cache.aside import Entry
from telemed.kernel.cache.client import CacheUnavailable
from telemed.kernel.clock import ManualClock
from telemed.kernel.replication.reads import Reads
from telemed.kernel.resources import Resources

BOUNDARY = datetime.fromtimestamp(6_000_000 * GONE_WINDOW.total_seconds(), UTC)


def at(seconds: float) -> ManualClock:
    """Give a clock that stands so many seconds after the boundary of two windows."""
    return ManualClock(BOUNDARY + timedelta(seconds=seconds))


# A page whose scope's words were there is stored without asking about each of its slots, unless the words have changed.
@pytest.mark.parametrize("knows_words", [pytest.param(False, id="begins"), pytest.param(True, id="goes on")])
# Seconds from the boundary, each by the clock of its process. A replica is asked while it lags by ten seconds at most,
# and clocks may differ by thirty.
@pytest.mark.parametrize(
    ("loaded", "noted", "read"),
    [
        pytest.param(-200, -150, -100, id="one window"),
        pytest.param(-200, -150, 60, id="noted in the window before"),
        pytest.param(-200, 10, 30, id="noted after the boundary"),
        pytest.param(8, -1, 60, id="loaded from a replica that had not heard of it"),
        pytest.param(15, -10, 60, id="noted by a clock that is behind"),
        pytest.param(35, -3, 80, id="noted by a clock that is behind, and loaded from such a replica"),
        pytest.param(-20, 20, -5, id="noted by a clock that is ahead"),
    ],
)
async def test_a_note_is_found_in_whichever_window_it_lies(
    resources: Resources, loaded: float, noted: float, read: float, knows_words: bool
) -> None:
    """By who stores the page, who finds it there, and who got it from somebody else."""
    reader_clock = at(loaded)
    reader = SlotShelf(resources.cache, reader_clock, resources.reads)
    writer = SlotShelf(resources.cache, at(noted), resources.reads)
    doctor_id = uuid4()
    gone, left = (GoneSlot(uuid4(), 1, doctor_id, "oncology") for _ in range(2))
    key = page_key(SearchSlots(doctor_id=doctor_id))
    for _ in range(1 + knows_words):
        before = await reader.fetch(key)
    assert (before.state is not None) is knows_words
    page = page_with(gone, left)

    await writer.write_gone([gone])
    reader_clock.advance(timedelta(seconds=read - loaded))
    kept = await reader.keep(key, before, Entry(page, BOUNDARY + timedelta(seconds=loaded)), hard=timedelta(minutes=5))
    fetched = (await reader.fetch(key)).entry
    corrected = await reader.correct(key, page)

    assert names(kept) == names(corrected) == [left.name]
    assert fetched is not None
    assert fetched.is_valid
    assert names(fetched.value) == [left.name]


async def test_what_a_replica_had_not_heard_of_is_left_out(resources: Resources) -> None:
    """Although nothing was noted since the page was looked up."""
    shelf = SlotShelf(resources.cache, at(0), resources.reads)
    doctor_id = uuid4()
    gone, left = (GoneSlot(uuid4(), 1, doctor_id, "oncology") for _ in range(2))
    key = page_key(SearchSlots(doctor_id=doctor_id))
    await shelf.fetch(key)
    await shelf.write_gone([gone])
    page = page_with(gone, left)

    reader = SlotShelf(resources.cache, at(1), of_replicas(resources))
    before = await reader.fetch(key)
    kept = await reader.keep(key, before, Entry(page, BOUNDARY + timedelta(seconds=1)), hard=timedelta(minutes=5))

    assert before.state is not None
    assert names(kept) == [left.name]


async def test_a_load_needs_no_more_than_there_was_when_its_generation_began(resources: Resources) -> None:
    """So a replica that has come that far may answer, whatever was written since; without Redis it must have all."""
    reads = of_replicas(resources)
    shelf = SlotShelf(resources.cache, at(0), reads)
    key = page_key(SearchSlots(doctor_id=uuid4()))
    before = await shelf.fetch(key)
    begun = await shelf.required(key, before)
    something = text("SELECT pg_logical_emit_message(true, 'test', 'is written')")
    await resources.db.transact(lambda session: session.execute(something))

    assert await shelf.required(key, before) == begun
    everything = await shelf.required(key, None)
    assert everything is not None
    assert begun is not None
    assert everything.lsn > begun.lsn


async def test_a_generation_that_has_not_begun_whole_has_not_begun(resources: Resources) -> None:
    """One of its sets of notes is not there, because something else lies under its name: nobody may rely on it."""
    shelf = SlotShelf(resources.cache, at(0), resources.reads)
    key = page_key(SearchSlots(doctor_id=uuid4()))
    next_window = gone_key(scope_in(key), window_of(BOUNDARY) + 1)
    await resources.cache.run(key, lambda line: line.ask(("SET", next_window, "no set of notes")))
    with pytest.raises(CacheUnavailable):
        await shelf.fetch(key)


def of_replicas(resources: Resources) -> Reads:
    """Give the reads of a process that has a replica; nobody reads from it here."""
    settings = resources.settings.model_copy(update={"replica_database_urls": [resources.settings.database_url]})
    return Reads(resources.db, settings=settings, clock=resources.clock, metrics=resources.metrics)


def page_with(*openings: GoneSlot) -> SlotPage:
    slots = [(opening.slot_id, BOUNDARY + timedelta(days=1)) for opening in openings]
    return page_of(slots, has_more=False, limit=20)


def names(page: SlotPage) -> list[str]:
    return list(page.openings)
