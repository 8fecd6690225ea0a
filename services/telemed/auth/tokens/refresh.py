"""Refresh tokens: made from a session and a count, never stored (docs/decisions/0004-refresh-tokens.md).

The same session and count always give the same bytes, so that a repeated request gets its answer again and the
database has nothing that could be stolen.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from telemed.kernel.keys import derived_key

_CONTENT = struct.Struct(">16sI")
_MAC_BYTES = 32
_TOKEN_LENGTH = 70  # of 52 bytes in base64url without padding


@dataclass(frozen=True, slots=True)
class Presented:
    """What a genuine refresh token says: the session, and which of its tokens this one is."""

    session_id: UUID
    generation: int


class RefreshTokens:
    """Makes and recognises the refresh tokens of one deployment."""

    def __init__(self, secret: bytes) -> None:
        self._key = derived_key(secret, "refresh-token")

    def make(self, session_id: UUID, generation: int) -> str:
        """Give the session's token of this generation; always the same one."""
        content = _CONTENT.pack(session_id.bytes, generation)
        return base64.urlsafe_b64encode(content + self._mac(content)).rstrip(b"=").decode()

    def read(self, token: str) -> Presented | None:
        """Give what a token says; None if we have not made it."""
        if len(token) != _TOKEN_LENGTH or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token + "==", altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # Compared in constant time, and the token's bytes too: base64 has several spellings of its last character.
        if len(content) != _CONTENT.size or not hmac.compare_digest(mac, self._mac(content)):
            return None
        session, generation = _CONTENT.unpack(content)
        presented = Presented(UUID(bytes=session), generation)
        return presented if hmac.compare_digest(self.make(presented.session_id, generation), token) else None

    def _mac(self, content: bytes) -> bytes:
        return hmac.new(self._key, content, hashlib.sha256).digest()
