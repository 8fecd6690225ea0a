"""Stands between a client and one service, and changes, loses or withholds single answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

# Told the request's line (`GET /path HTTP/1.1`) and the whole answer; gives what the client is to see of it.
Change = Callable[[str, bytes], Awaitable[bytes]]


class Meddler:
    """Forwards requests of clients that close their connection after each; *change* may be set at any time."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.change: Change | None = None
        self.port = 0
        self.ends = asyncio.Event()  # what a change may wait for to withhold an answer for ever
        self._running: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        """Give the address to send to."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Forward one request."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._forward(client, back)
        finally:
            back.close()
            self._running.discard(task)

    async def end(self) -> None:
        """Let go of what is withheld, and wait for it."""
        self.ends.set()
        if self._running:
            await asyncio.wait(self._running)

    async def _forward(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await client.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            lengths = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
            body = await client.readexactly(int(lengths[0]) if lengths else 0)
            answer = await self._ask(head + body)
            if self.change is not None:
                answer = await self.change(lines[0], answer)
            back.write(answer)
            await back.drain()

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        writer.write(request)
        answer = await reader.read(-1)  # to the end: the client has asked for the connection to be closed
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def meddling_with(server_port: int | None) -> AsyncIterator[Meddler]:
    """Stand before the service at this port for as long as the context lasts."""
    assert server_port is not None
    meddler = Meddler(server_port)
    server = await asyncio.start_server(meddler.serve, "127.0.0.1", 0)
    meddler.port = server.sockets[0].getsockname()[1]
    try:
        yield meddler
    finally:
        server.close()
        await meddler.end()


def made_answer(status: int, body: bytes, content_type: str | None = None) -> bytes:
    """Write an answer as a service of ours would."""
    content_type = content_type or ("application/problem+json" if status >= 400 else "application/json")
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def hold(meddler: Meddler, line: str) -> asyncio.Event:
    """Withhold the answer to the first such request for ever; gives what is set when it has been asked."""
    asked = asyncio.Event()

    async def never(request: str, answer: bytes) -> bytes:
        if request.startswith(line) and not asked.is_set():
            asked.set()
            await meddler.ends.wait()
        return answer

    meddler.change = never
    return asked
