"""What one request brings and takes of consistency: the tokens it came with, the one it leaves with, its age."""

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

from telemed.kernel.replication.tokens import COOKIE, HEADER, VALID_FOR

_HEADER = HEADER.lower().encode()
_COOKIE = f"{COOKIE}=".encode()
# The path is everything: the services share the client's position. No script needs to read it.
_ATTRIBUTES = f"Path=/; Max-Age={int(VALID_FOR.total_seconds())}; HttpOnly; Secure; SameSite=Strict"
_MAX_TOKENS = 8  # of one request; each costs a hash


@dataclass(slots=True)
class Consistency:
    """The consistency of one exchange. *age* is set when the reply may lack what happened since."""

    tokens: tuple[str, ...] = ()
    written: str | None = None
    age: timedelta | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Consistency":
        """Read the tokens from a request's raw headers."""
        found = []
        for name, value in headers:
            if name == _HEADER:
                found.append(value.decode("latin-1").strip())
            elif name == b"cookie":
                found += _cookies(value)
        return cls(tuple(found[:_MAX_TOKENS]))

    def response_headers(self) -> Iterator[tuple[str, str]]:
        """Give what the response is to say."""
        if self.written is not None:
            yield HEADER, self.written
            yield "Set-Cookie", f"{COOKIE}={self.written}; {_ATTRIBUTES}"
        if self.age is not None:
            yield "Age", str(int(self.age.total_seconds()))
            yield "Warning", '110 - "Response is Stale"'


def _cookies(header: bytes) -> Iterator[str]:
    for part in header.split(b";"):
        cookie = part.strip()
        if cookie.startswith(_COOKIE):
            yield cookie.removeprefix(_COOKIE).decode("latin-1").strip('"')


current_consistency: ContextVar[Consistency | None] = ContextVar("telemed_consistency", default=None)
