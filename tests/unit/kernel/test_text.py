"""Types of request fields: what the database, a log or a screen cannot hold is refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from telemed.kernel.text import Instant, Line80, Text1000, rfc3339

LINE: TypeAdapter[str] = TypeAdapter(Line80)
TEXT: TypeAdapter[str] = TypeAdapter(Text1000)
INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


@pytest.mark.parametrize(
    "value", ["A", "Dr. Asha Rao", "Доктор", "医師", "👩‍⚕️", " padded ", "a\u00a0b", "x" * 80], ids=ascii
)
def test_a_line_is_anything_that_people_write(value: str) -> None:
    """Unchanged, in every script."""
    assert LINE.validate_python(value) == value


NOT_LINES = ["", " ", "\u200b", "\u2003\ufeff", "a\x00b", "a\nb", "a\tb", "a\x1bb", "a\x85b", "a\u2028b", "a\n"]


@pytest.mark.parametrize("value", [*NOT_LINES, "x" * 81, 7, None, b"x"], ids=ascii)
def test_a_line_has_no_control_characters_and_something_to_see(value: object) -> None:
    """What would forge a log line, break a screen, or look like nothing."""
    with pytest.raises(ValidationError):
        LINE.validate_python(value)


def test_a_text_may_have_lines() -> None:
    assert TEXT.validate_python("one\r\n\ttwo") == "one\r\n\ttwo"


@pytest.mark.parametrize("value", ["", "\n\t \r", "a\x00", "a\x0b", "x" * 1001], ids=ascii)
def test_a_text_has_something_to_see_and_nothing_to_break(value: str) -> None:
    with pytest.raises(ValidationError):
        TEXT.validate_python(value)


@given(st.text(max_size=80))
def test_a_line_that_is_accepted_can_be_stored_and_shown(value: str) -> None:
    """Whatever passes has a UTF-8 form, no NUL, one line, and something printable."""
    try:
        line = LINE.validate_python(value)
    except ValidationError:
        return
    assert line.encode()
    assert "\x00" not in line
    assert len(line.splitlines()) == 1
    assert line.strip()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"),
        ("2026-11-23T14:30:00+05:30", "2026-11-23T09:00:00Z"),
        ("2026-11-23T09:00:00.123456Z", "2026-11-23T09:00:00.123456Z"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_kept_in_utc(text: str, instant: str) -> None:
    """The offset says when it is, not where it is shown."""
    assert rfc3339(INSTANT.validate_python(text)) == instant


@given(
    st.datetimes(timezones=st.timezones())
    | st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(second=0, microsecond=0))
)
def test_an_instant_is_written_as_the_library_writes_it(instant: datetime) -> None:
    """Those of whole minutes, which are looked up, and all others."""
    assume(2 <= instant.year <= 9998)  # at the ends of the calendar there is no UTC
    assert rfc3339(instant) == instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T09:00:00",
        "2026-11-23",
        "tomorrow",
        1_700_000_000,
        1e12,
        True,
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-02-30T00:00:00Z",
        "2026-11-23T24:00:01Z",
    ],
)
def test_what_is_no_instant_is_refused(value: object) -> None:
    """No local time, no guess at a unit, no year that overflows somewhere behind us."""
    with pytest.raises(ValidationError):
        INSTANT.validate_python(value)


def test_an_aware_datetime_passes() -> None:
    """Code hands instants in, too."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert INSTANT.validate_python(now) == now
