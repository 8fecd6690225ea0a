"""What becomes of a refresh token that is presented. Pure."""

from datetime import datetime, timedelta
from enum import Enum

from telemed.auth.sessions.models import LoginSession


class Verdict(Enum):
    """What to do."""

    ROTATE = "rotate"  # it is the current one: make the next one current
    REPEAT = "repeat"  # it is the one before, just replaced: give the current one again
    REUSED = "reused"  # it was used up before: somebody else has it
    INVALID = "invalid"  # there is nothing left to protect


def verdict_on(session: LoginSession, generation: int, *, now: datetime, grace: timedelta) -> Verdict:
    """Judge the session's token of this generation.

    Within *grace* the token before the current one is no theft but a client that sent its request twice or never got
    the answer: it gets the same successor again. Once the successor has been used it is two generations old.
    """
    if session.revoked_at is not None or session.expires_at <= now or generation > session.generation:
        return Verdict.INVALID
    if generation == session.generation:
        return Verdict.ROTATE
    if generation == session.generation - 1 and now - session.rotated_at <= grace:
        return Verdict.REPEAT
    return Verdict.REUSED
