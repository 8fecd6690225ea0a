"""Requests on both ways, straight to their endpoint and as the framework leads to it; what their clients are told."""

import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import pytest
from tests.support.express import BehindExpress

from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.straight import StraightRead, StraightWrite

T = TypeVar("T")
BEARER = ("Authorization", "Bearer TOKEN")
JSON = ("Content-Type", "application/json")
# Ids of things, requests and traces, and the names that `People` gives.
_OWN = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:[0-9a-f]{24}|[0-9a-f]{32})\b|(?:Patient|Doctor|Admin) Number \d+"
)


class Ways:
    """Both ways into an application: nothing goes straight there but what is sent by `straight`.

    *taken* has which way each of those went: it is offered the straight one, which may leave it to the other.
    """

    def __init__(self, app: BehindExpress, monkeypatch: pytest.MonkeyPatch) -> None:
        self._app = app
        self._offered, app.edge.straight = app.edge.straight, {}
        self.taken: list[str] = []
        for kind in (StraightWrite, StraightRead):
            monkeypatch.setattr(kind, "serve", self._noted(kind.serve))

    @property
    def both(self) -> tuple[Any, Any]:
        """Give both, the straight one first."""
        return self.straight, self.ordinary

    async def straight(self, sent: Awaitable[T]) -> T:
        """Wait for what is sent, and let it go straight."""
        self._app.edge.straight = self._offered
        try:
            return await sent
        finally:
            self._app.edge.straight = {}

    async def ordinary(self, sent: Awaitable[T]) -> T:
        """Wait for what is sent."""
        return await sent

    def _noted(self, serve: Any) -> Any:
        async def note(way: Any, scope: Any, exchange: Exchange) -> bool:
            is_served: bool = await serve(way, scope, exchange)
            self.taken.append("straight" if is_served else "ordinary")
            return is_served

        return note


@dataclass(frozen=True)
class Sent:
    """A request, as it goes onto the wire; words in it, such as TOKEN, are filled in when it is sent."""

    path: str
    body: bytes | list[bytes] = b""
    headers: tuple[tuple[str, str], ...] = (BEARER,)
    method: str = "POST"

    def but(self, **changes: Any) -> "Sent":
        """Give the same request with another path, body, method or other headers."""
        return replace(self, **changes)

    def adding(self, header: str, *values: str) -> "Sent":
        """Give the same request with more headers of a name, also where it has one already."""
        return replace(self, headers=(*self.headers, *((header, value) for value in values)))

    async def to(self, api: httpx.AsyncClient, **words: str) -> httpx.Response:
        """Send it with each of the *words*, such as `TOKEN="ey…"`, replaced."""
        headers = [(name.encode(), _filled(value, words).encode("latin-1")) for name, value in self.headers]
        pieces = [self.body] if isinstance(self.body, bytes) else self.body
        filled = [_filled(piece.decode("latin-1"), words).encode("latin-1") for piece in pieces]

        async def in_pieces() -> AsyncIterator[bytes]:
            for piece in filled:
                yield piece

        content = filled[0] if len(filled) == 1 else in_pieces()
        return await api.request(self.method, _filled(self.path, words), content=content, headers=headers)


def told(reply: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """Give what a client is told, byte for byte, but for ids and names, each of which is told from the others."""
    length = reply.headers.get("content-length")
    assert length is None or int(length) == len(reply.content)
    headers = [(name, value) for name, value in reply.headers.multi_items() if name != "content-length"]
    return reply.status_code, [(name, renamed(value)) for name, value in headers], renamed(reply.text)


def renamed(text: str) -> str:
    """Put in place of each id and name in a text which one of it this is."""
    places: dict[str, str] = {}
    return _OWN.sub(lambda found: places.setdefault(found[0], f"<{len(places) + 1}>"), text)


def _filled(text: str, words: dict[str, str]) -> str:
    # At once: what was filled in may look like another word.
    return re.sub("|".join(words), lambda found: words[found[0]], text) if words else text
