"""HTTP/1.1 by hand: for tests of what happens to a connection, which a client library hides."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawReply:
    """What came back on a connection."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def closes(self) -> bool:
        """Tell whether the server said that it closes the connection."""
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


class Connection:
    """One connection to a server of 127.0.0.1, kept until somebody closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int | None) -> "Connection":
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send a whole request and do not wait."""
        lines = [f"{method} {path} HTTP/1.1", "Host: telemed.test"]
        content = b"" if body is None else json.dumps(body).encode()
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        await self._writer.drain()

    async def reply(self) -> RawReply:
        """Read one response.

        Raises:
            ConnectionError, asyncio.IncompleteReadError: the connection ended before it.
        """
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return RawReply(int(head[0].split()[1]), headers, body)

    async def get(self, path: str, **more: Any) -> RawReply:
        """Send a GET and read its response."""
        await self.send("GET", path, **more)
        return await self.reply()

    async def is_ended(self) -> bool:
        """Wait for the server to close the connection in order; False if it says something instead."""
        return await self._reader.read(1) == b""

    @property
    def has_ended(self) -> bool:
        """Tell whether the server's end has arrived already."""
        return self._reader.at_eof()

    def close(self) -> None:
        """Leave, whatever is still to come."""
        self._writer.close()

    async def closed(self) -> None:
        """Leave, and wait until it is done."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def close_sending_half(self) -> None:
        """Say that nothing more comes, and go on reading."""
        self._writer.write_eof()


async def is_refused(port: int | None) -> bool:
    """Tell whether nobody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return False
