"""Consistency tokens: what a client has written, in a form that it carries and cannot change.

A token names the place in the write-ahead log after the client's last write. A replica that has not come so far does
not answer the client's reads. Signed, because a place beyond all others would send every read to the primary.
"""

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta

from telemed.kernel.replication.positions import BEYOND_ALL, WalPosition

HEADER = "X-Consistency-Token"
COOKIE = "telemed_consistency"
# By then every replica that is asked at all has everything: those further behind are skipped (REPLICA_MAX_LAG_SECONDS).
VALID_FOR = timedelta(minutes=5)
_FORM = re.compile(r"([0-9a-f]{1,8})-([0-9a-f]{1,16})-([0-9a-f]{1,12})-([A-Za-z0-9_-]{22})")


class TokenSigner:
    """Makes and reads tokens; all processes share the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, position: WalPosition, *, now: datetime) -> str:
        """Write the token of a position; `BEYOND_ALL` when it could not be learned."""
        content = f"{position.timeline:x}-{position.lsn:x}-{int(now.timestamp()):x}"
        return f"{content}-{self._seal(content)}"

    def read(self, token: str, *, now: datetime) -> WalPosition | None:
        """Give the position that a replica must have; None if the token has run out.

        What is not one of our tokens asks for the primary: the client believes that it has written something, and the
        key may have been changed since.
        """
        match = _FORM.fullmatch(token)
        if match is None or not hmac.compare_digest(match[4], self._seal(token[: match.end(3)])):
            return BEYOND_ALL
        timeline, lsn, issued = (int(part, 16) for part in match.groups()[:3])
        if now - datetime.fromtimestamp(min(issued, 2**33), UTC) > VALID_FOR:
            return None
        return WalPosition(timeline, lsn)

    def _seal(self, content: str) -> str:
        digest = hmac.new(self._key, content.encode(), hashlib.sha256).digest()[:16]
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
