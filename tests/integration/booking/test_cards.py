"""What the database writes for search is what pydantic would write of the schemas."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.servers import TestServers
from tests.support.databases import clone, unused_name

from telemed.booking.doctors.schemas import DOCTOR_CARD_EXAMPLE, DoctorCard
from telemed.booking.slots.cards import Found, found_in, lines_of, starts_at
from telemed.booking.slots.pages import SlotPage, opening_name
from telemed.booking.slots.schemas import FoundSlot, FoundSlots
from telemed.contracts.money import Money
from telemed.kernel.paging import Cursor

# What PostgreSQL can hold: any text without NUL and without halves of surrogate pairs, also what our API would refuse.
AWKWARD = (
    *('"', "\\", "\\u0041", "</script>", "null", "", "Dr. Zoë 🩺 हृदय"),
    *("\x01\x08\t\n\x0b\f\r\x1f", "\x7f\x80\x9f", "\u2028\u2029\ufeff"),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.sampled_from(
    AWKWARD
)
offsets = st.integers(min_value=-14 * 60, max_value=14 * 60)
zones = st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), offsets)
instants = st.builds(
    lambda seconds, microseconds, zone: datetime.fromtimestamp(seconds, zone) + timedelta(microseconds=microseconds),
    st.integers(min_value=1_000_000_000, max_value=4_000_000_000),
    st.just(0) | st.integers(min_value=0, max_value=999_999),
    st.just(UTC) | zones,
)
fees = st.builds(
    Money, amount_minor=st.integers(min_value=0, max_value=10**9), currency=st.from_regex(r"[A-Z]{3}", fullmatch=True)
)
cards = st.builds(
    DoctorCard,
    id=st.uuids(),
    full_name=texts,
    specialization=texts,
    languages=st.lists(texts, max_size=4),
    fee=fees,
)


@st.composite
def found(draw: st.DrawFn) -> list[FoundSlot]:
    """Slots of few doctors, so that most of these have several."""
    listed = draw(st.lists(cards, min_size=1, max_size=3, unique_by=lambda card: card.id))
    slot = st.builds(FoundSlot, id=st.uuids(), starts_at=instants, ends_at=instants, doctor=st.sampled_from(listed))
    return draw(st.lists(slot, max_size=6))


class Writer:
    """A connection on which instants are shown as nobody expects."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
        self._runner = runner
        self._connection = connection

    def write(self, slots: list[FoundSlot]) -> Found:
        """Have the database write the slots, as openings of versions from one on."""
        return self._runner.run(self._written(slots))

    async def _written(self, slots: list[FoundSlot]) -> Found:
        cards = [await self._connection.fetchval(_CARD, *_columns(slot.doctor)) for slot in slots]
        columns = zip(*((slot.id, slot.starts_at, slot.ends_at) for slot in slots), strict=True) if slots else ([],) * 3
        return found_in(await self._connection.fetchval(_LINES, *columns, cards))


_CARD = "SELECT booking.doctor_card($1, $2, $3, $4, $5, $6)"
_LINES = f"""
    SELECT string_agg({lines_of("f")}, chr(10) ORDER BY f.version)
    FROM (
        SELECT of.*, number::integer AS version
        FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::text[])
            WITH ORDINALITY AS of (id, starts_at, ends_at, card, number)
    ) AS f
"""


def _columns(card: DoctorCard) -> tuple[object, ...]:
    return card.id, card.full_name, card.specialization, card.languages, card.fee.amount_minor, card.fee.currency


@pytest.fixture(scope="module")
def writer(test_servers: TestServers) -> Iterator[Writer]:
    """Lend a database to write with."""
    with asyncio.Runner() as runner:
        database = runner.run(clone(test_servers, unused_name()))
        connection = runner.run(asyncpg.connect(database.services))
        runner.run(connection.execute("SET timezone = 'Asia/Kolkata'; SET datestyle = 'German, DMY'"))
        yield Writer(runner, connection)
        runner.run(connection.close())
        test_servers.drop_database(database.name)


@given(slots=found())
@settings(deadline=None)  # a database is asked
def test_every_slot_is_written_as_pydantic_would(writer: Writer, slots: list[FoundSlot]) -> None:
    """Byte for byte, whatever is in a name."""
    written = writer.write(slots)

    assert list(written.cards) == [slot.model_dump_json() for slot in slots]
    assert list(written.openings) == [opening_name(slot.id, number) for number, slot in enumerate(slots, 1)]
    assert [starts_at(card) for card in written.cards] == [slot.starts_at for slot in slots]


@pytest.mark.parametrize("fraction", ["", ".000001", ".1", ".100001", ".12", ".500", ".999999", ".010"])
def test_fractions_of_a_second_are_written_out(writer: Writer, fraction: str) -> None:
    """Though the database leaves out their last zeros."""
    at = datetime.fromisoformat(f"2026-11-28T09:00:07{fraction}+00:00")
    doctor = DoctorCard.model_validate(DOCTOR_CARD_EXAMPLE)
    slot = FoundSlot(id=uuid4(), starts_at=at, ends_at=at, doctor=doctor)

    assert list(writer.write([slot]).cards) == [slot.model_dump_json()]


@given(slots=found(), limit=st.integers(min_value=1, max_value=4), has_more=st.booleans())
@settings(deadline=None)
def test_every_page_is_written_as_pydantic_would(
    writer: Writer, slots: list[FoundSlot], limit: int, has_more: bool
) -> None:
    """With its cursor, or the null in its place."""
    shown = slots[:limit]
    is_last = not shown or not (has_more or len(slots) > limit)
    cursor = None if is_last else Cursor(shown[-1].starts_at, shown[-1].id).encode()

    page = SlotPage(*writer.write(slots), has_more, limit)

    assert page.render() == FoundSlots(items=shown, next_cursor=cursor).model_dump_json().encode()
