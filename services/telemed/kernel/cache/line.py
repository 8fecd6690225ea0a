"""Questions to one Redis server on one connection, each answered in its turn.

The library's client lends a connection to each question and sets a timer for each of its replies: two thirds of what a
question costs this process. Here everybody writes at once, and replies belong to questions by their order, which is all
that the protocol has. So an order that could be wrong is never trusted: a reply that nobody waits for, or that makes no
sense, ends the connection and fails whoever waits on it. Whoever gives up leaves their place to a reply that is thrown
away. Bounds on the waiting are the callers' (`client.py`).
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
from redis.exceptions import AskError, MovedError, RedisError, ResponseError

from telemed.kernel.cache.addresses import Endpoint

Command = tuple[str | bytes | int, ...]
# Called on each new connection before anything else is said on it; may refuse it by raising.
Greet = Callable[["Wire"], Awaitable[None]]
_NOTHING = object()
_packed: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # stubs say: one word only
_REDIRECTIONS = {"MOVED": MovedError, "ASK": AskError}


class LineLost(RedisError):
    """The connection ended, or what came on it made no sense."""


class Line:
    """The way to one server: one connection at a time, made when somebody asks and made anew when it is lost."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        greet: Greet,
        patience_seconds: float,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        """Connect nothing yet. Connecting may take *patience_seconds*, and so long may a connection be silent.

        A server that is frozen, or behind a network that drops everything, ends no connection. When somebody has waited
        for so long without a reply, new questions take a new connection; those who wait on the old one have as long
        again, and then it is closed. *tls* is called when it is needed first: it reads files, which may be missing.
        """
        self._endpoint = endpoint
        self._greet = greet
        self._patience_seconds = patience_seconds
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[Wire] | None = None
        self._open: set[Wire] = set()
        self._is_closed = False

    async def ask(self, *commands: Command) -> list[Any]:  # what a reply holds depends on the command
        """Send the commands together, and give the reply to each.

        Raises:
            MovedError, AskError, ResponseError: the first of them that the server refused; the others were done.
            LineLost, OSError, TimeoutError: nobody knows what was done.
        """
        wire = self._wire
        if wire is None or wire.is_closed or wire.silent_for() > self._patience_seconds:
            wire = await self._connected()
        replies = await wire.ask(*commands)
        first_refusal(replies)
        return replies

    def hang_up(self) -> None:
        """End every connection; whoever waits on one hears that it is lost, and the next question makes a new one."""
        for wire in list(self._open):
            wire.abort()

    async def close(self) -> None:
        """End every connection for good."""
        self._is_closed = True
        self.hang_up()
        if self._connecting is not None:
            # It has a bound of its own; this one is for what nobody foresaw.
            await asyncio.wait({self._connecting}, timeout=self._patience_seconds)

    async def _connected(self) -> "Wire":
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._has_connected)
        # Shielded: who gives up leaves it to the others who came meanwhile.
        return await asyncio.shield(self._connecting)

    def _has_connected(self, done: "asyncio.Task[Wire]") -> None:
        self._connecting = None
        if not done.cancelled():
            done.exception()  # looked at: nobody may be waiting for it any more

    async def _connect(self) -> "Wire":
        if self._tls is None:
            self._tls = self._make_tls()
        name = self._endpoint.host if self._tls is not None else None
        async with asyncio.timeout(self._patience_seconds):
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: Wire(self._open), self._endpoint.host, self._endpoint.port, ssl=self._tls, server_hostname=name
            )
            try:
                await self._greet(wire)
            except BaseException:
                wire.abort()
                raise
        if self._is_closed:
            wire.abort()
        elif self._wire is not None:
            self._wire.retire(self._patience_seconds)
        self._wire = wire
        return wire


class Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, register: "set[Wire]") -> None:
        self._register = register
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[_Question] = deque()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._heard_at = 0.0  # or when the first who waits has asked, if that was later
        self._is_retired = False
        self.is_closed = False

    async def ask(self, *commands: Command) -> list[Any]:  # as above
        """Send the commands together, and give the reply to each, refusals among them.

        Raises:
            LineLost: nobody knows what was done.
        """
        if self.is_closed or self._transport is None:
            raise LineLost("the connection has ended")
        packed = b"".join(map(_packed, commands))  # before anybody waits: what cannot be sent is never answered
        question = _Question(len(commands), self._loop.create_future())
        if not self._waiting:
            self._heard_at = self._loop.time()
        self._waiting.append(question)
        self._transport.write(packed)
        return await question.answered

    def silent_for(self) -> float:
        """Say for how long, in seconds, somebody has been waiting since the last reply came."""
        return self._loop.time() - self._heard_at if self._waiting else 0.0

    def retire(self, within_seconds: float) -> None:
        """Close it as soon as nobody waits any more, or then."""
        self._is_retired = True
        if not self._waiting:
            self.abort()
        else:
            self._loop.call_later(within_seconds, self.abort)

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(LineLost("the connection was given up"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # asyncio's own type for streams is the wider one
        self._register.add(self)

    def data_received(self, data: bytes) -> None:
        """Give what came to those who wait for it."""
        self._heard_at = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self._fail(LineLost(type(error).__name__))
            self.abort()
        if self._is_retired and not self._waiting:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait."""
        self._fail(LineLost(type(exc).__name__ if exc is not None else "the server has closed the connection"))

    def _take(self, reply: object) -> None:
        if not self._waiting:
            raise hiredis.ProtocolError("a reply that nobody has asked for")
        question = self._waiting[0]
        question.replies.append(reply)
        if len(question.replies) == question.count:
            self._waiting.popleft()
            if not question.answered.done():  # whoever asked may have left
                question.answered.set_result(question.replies)

    def _fail(self, error: LineLost) -> None:
        self.is_closed = True
        self._register.discard(self)
        while self._waiting:
            question = self._waiting.popleft()
            if not question.answered.done():
                question.answered.set_exception(error)


class _Question:
    __slots__ = ("answered", "count", "replies")

    def __init__(self, count: int, answered: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.answered = answered
        self.replies: list[Any] = []


def first_refusal(replies: list[Any]) -> None:  # as above
    """Raise the first of the replies by which the server refused something.

    Raises:
        MovedError, AskError, ResponseError: there is one.
    """
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise _error_in(reply)


def _error_in(reply: "hiredis.ReplyError") -> ResponseError:
    text = str(reply)
    kind, _, place = text.partition(" ")
    redirection = _REDIRECTIONS.get(kind)
    if redirection is not None:
        with contextlib.suppress(ValueError):  # no place in it: an error like any other
            error: ResponseError = redirection(place)
            return error
    return ResponseError(text)
