"""Identifiers sort by time and carry the bits that RFC 9562 wants."""

from hypothesis import given
from hypothesis import strategies as st

from telemed.kernel.ids import uuid7


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_has_the_bits_of_version_7(moment: int) -> None:
    """Time first, then version and variant."""
    made = uuid7(moment)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == moment


@given(st.integers(min_value=0, max_value=2**48 - 2))
def test_sorts_by_time(moment: int) -> None:
    """An id that was made a millisecond later is greater, as number and as text."""
    earlier, later = uuid7(moment), uuid7(moment + 1)
    assert earlier < later
    assert str(earlier) < str(later)


def test_never_repeats() -> None:
    """Ten thousand ids of one millisecond differ."""
    assert len({uuid7(1) for _ in range(10_000)}) == 10_000
