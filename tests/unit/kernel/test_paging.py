"""Cursors: what `encode` makes `decode` reads, and nothing else."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.kernel.paging import Cursor
from telemed.kernel.problems import InvalidRequest

INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - aware by timezones


@given(INSTANTS, st.uuids())
def test_a_cursor_survives_the_round_trip(at: datetime, item: object) -> None:
    """To the microsecond, in URL-safe characters, and short enough to be sent back."""
    cursor = Cursor(at, item)  # type: ignore[arg-type]  # hypothesis' uuids are UUIDs
    text = cursor.encode()
    assert len(text) <= 200
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert Cursor.decode(text) == cursor


def test_a_cursor_in_another_zone_is_the_same_place() -> None:
    """An instant is an instant, whatever zone the database session has."""
    at = datetime(2026, 11, 23, 9, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    decoded = Cursor.decode(Cursor(at, item := __import__("uuid").UUID(int=7)).encode())
    assert decoded == Cursor(at.astimezone(UTC), item)


@given(st.text(alphabet="ABCXYZabcxyz0189-_", max_size=200))
def test_garbage_is_a_problem(text: str) -> None:
    """What is not a cursor is the client's mistake, never ours."""
    with pytest.raises(InvalidRequest):
        Cursor.decode(text)


@pytest.mark.parametrize(
    "place",
    [
        None,
        [],
        ["2026-11-23T09:00:00Z"],
        ["2026-11-23T09:00:00", "0" * 32],
        [1_700_000_000, "0" * 32],
        ["9999-12-31T23:59:59-23:00", "0" * 32],
        ["0001-01-01T00:00:00+23:00", "0" * 32],
        ["2026-11-23T09:00:00Z", "not an id"],
        ["2026-11-23T09:00:00Z", "0" * 32, 1],
        {"at": 1},
    ],
    ids=repr,
)
def test_a_forged_cursor_is_a_problem(place: object) -> None:
    """JSON of another shape, or with values that no page gives, is refused too."""
    forged = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    with pytest.raises(InvalidRequest):
        Cursor.decode(forged)


def test_no_cursor_is_the_first_page() -> None:
    assert Cursor.decode(None) is None
