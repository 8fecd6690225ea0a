"""A TCP proxy that a test can freeze, cut, or cut at a certain word."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.support.waiting import until


class Proxy:
    """Passes bytes between clients and one server on 127.0.0.1; clients speak TLS to it if there is a context."""

    def __init__(self, server_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.server_port = server_port  # another one from the next connection on
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        # Cut every connection right after these bytes of a client have reached the server, before it can answer.
        self.cut_after: bytes | None = None
        # Swallow whatever the server answers to these bytes: the client waits for ever.
        self.freeze_after: bytes | None = None
        # Both only on a connection that has sent these bytes as well: a process' look-out commits every second, too.
        self.only_with: bytes | None = None
        self.connections = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def freeze(self) -> None:
        """Let nothing through until `thaw`; connections stay."""
        self._flowing.clear()

    @property
    def is_frozen(self) -> bool:
        return not self._flowing.is_set()

    def thaw(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        for task in (
            asyncio.create_task(self._pass(reader, there_writer, from_client=True)),
            asyncio.create_task(self._pass(there_reader, writer, from_client=False)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool) -> None:
        was_sent = False
        with contextlib.suppress(OSError):
            while part := await reader.read(65536):
                await self._flowing.wait()
                was_sent = was_sent or (self.only_with is not None and self.only_with in part)
                word = self.cut_after or self.freeze_after if was_sent or self.only_with is None else None
                last = from_client and word is not None and word in part
                if last:
                    self.freeze()  # before the server can answer
                writer.write(part)
                await writer.drain()
                if last and self.cut_after:
                    await asyncio.sleep(0.05)  # the server shall have acted before its client is gone
                    self.cut()
                    self.thaw()
                    return
        self._writers.discard(writer)
        writer.close()


@contextlib.asynccontextmanager
async def proxy_to(server_port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Lend a proxy to a server."""
    proxy = Proxy(server_port, tls)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


def through(proxy: Proxy, address: str) -> str:
    """Give the address with the proxy's port in place of the server's."""
    parts = urlsplit(address)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{proxy.port}"))


async def left_at(proxy: Proxy, word: str, operation: Coroutine[Any, Any, object], thinks: asyncio.Event) -> None:
    """Run the operation, and have its caller leave, three times over, while this word of it is on its way.

    *thinks* is set by the operation when it has said all that it has to say, and waits for ever: a ROLLBACK is only
    sent for a caller who has left by then.
    """
    proxy.freeze_after = word.encode()
    task = asyncio.create_task(operation)
    if word == "ROLLBACK":
        await thinks.wait()
        task.cancel()
    await until(lambda: proxy.is_frozen)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.02)
    proxy.freeze_after = None
    proxy.thaw()
    await asyncio.wait({task})
    assert task.cancelled()
