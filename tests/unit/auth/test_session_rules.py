"""What becomes of a presented refresh token."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from telemed.auth.sessions.models import LoginSession
from telemed.auth.sessions.rules import Verdict, verdict_on

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
GRACE = timedelta(seconds=10)


def session(*, rotated: timedelta = timedelta(0)) -> LoginSession:
    return LoginSession(
        id=uuid4(),
        user_id=uuid4(),
        generation=5,
        rotated_at=NOW - rotated,
        created_at=NOW - timedelta(days=1),
        expires_at=NOW + timedelta(days=1),
    )


@pytest.mark.parametrize(
    ("generation", "rotated_ago", "verdict"),
    [
        (5, timedelta(0), Verdict.ROTATE),
        (5, timedelta(hours=9), Verdict.ROTATE),
        (4, timedelta(0), Verdict.REPEAT),
        (4, GRACE, Verdict.REPEAT),
        (4, -timedelta(seconds=1), Verdict.REPEAT),  # asked before the one who rotated, but locked after
        (4, GRACE + timedelta(milliseconds=1), Verdict.REUSED),
        (3, timedelta(0), Verdict.REUSED),
        (0, timedelta(0), Verdict.REUSED),
        (6, timedelta(0), Verdict.INVALID),
    ],
)
def test_the_verdict_follows_from_generation_and_time(
    generation: int, rotated_ago: timedelta, verdict: Verdict
) -> None:
    """The current one rotates, the one just before repeats for a moment, everything older is theft."""
    assert verdict_on(session(rotated=rotated_ago), generation, now=NOW, grace=GRACE) is verdict


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
@pytest.mark.parametrize("generation", [3, 4, 5])
def test_a_session_that_is_over_gives_nothing(end: str, generation: int) -> None:
    """Neither its current token nor an old one does anything."""
    over = session()
    setattr(over, end, NOW)
    assert verdict_on(over, generation, now=NOW, grace=GRACE) is Verdict.INVALID
