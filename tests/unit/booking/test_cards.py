"""What search writes by hand is what pydantic would write of the schemas."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from telemed.booking.doctors.schemas import DoctorCard
from telemed.booking.slots.cards import candidates
from telemed.booking.slots.openings import Opening
from telemed.booking.slots.pages import SlotPage
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


def as_read(slot: FoundSlot) -> Opening:
    """Give the slot as the database would."""
    return Opening(
        id=slot.id,
        version=1,
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        doctor_id=slot.doctor.id,
        full_name=slot.doctor.full_name,
        specialization=slot.doctor.specialization,
        languages=slot.doctor.languages,
        fee_minor=slot.doctor.fee.amount_minor,
        fee_currency=slot.doctor.fee.currency,
    )


@given(found())
def test_every_slot_is_written_as_pydantic_would(slots: list[FoundSlot]) -> None:
    """Byte for byte, whatever is in a name."""
    written = [candidate.json for candidate in candidates(as_read(slot) for slot in slots)]
    assert written == [slot.model_dump_json() for slot in slots]


@given(found(), st.integers(min_value=1, max_value=4), st.booleans())
def test_every_page_is_written_as_pydantic_would(slots: list[FoundSlot], limit: int, has_more: bool) -> None:
    """With its cursor, or the null in its place."""
    shown = slots[:limit]
    is_last = not shown or not (has_more or len(slots) > limit)
    cursor = None if is_last else Cursor(shown[-1].starts_at, shown[-1].id).encode()

    page = SlotPage(candidates(as_read(slot) for slot in slots), has_more, limit)

    assert page.render() == FoundSlots(items=shown, next_cursor=cursor).model_dump_json().encode()
