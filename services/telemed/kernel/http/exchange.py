"""One request's receive and send, with what they must obey: bounds on the body, headers on the response."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from telemed.kernel.problems import PayloadTooLarge, Problem, RequestTimeout
from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.telemetry.context import Trace

# For the whole body: a bound on each piece lets a client drip for hours. Below the server's own deadline of a request,
# so that who is too slow is told so.
BODY_TIMEOUT_SECONDS = 10.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Where the application has not said otherwise. Names in lower case, as ASGI has them.
COMMON_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"cache-control", b"no-store"),
]
# Where the scope of a request has the way back for a response in one piece, if the server gives one. It is taken out:
# the carrier holds the scope in turn, and what goes in circles is freed late and makes every request dearer.
CARRIER = "telemed.carrier"


class WholeCarrier(Protocol):
    """The connection on which a request came."""

    @property
    def takes_whole(self) -> bool:
        """Tell whether a response may go out in one piece, and the connection stays open after it."""
        ...

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        """Send a complete response; *head* are its header lines."""
        ...


class Exchange:
    """A request and the response to it, as they pass the edge.

    *on_body* is called when all of the body is there, and may say why the request goes no further.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        trace: Trace,
        consistency: Consistency,
        max_body_bytes: int,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._carrier: WholeCarrier | None = scope.pop(CARRIER, None)
        self.trace = trace
        self._consistency = consistency
        self._max = max_body_bytes
        self._received = 0
        self._body_complete = False
        self._body_due: float | None = None
        self._is_taken_over = False
        self._unread: Message | None = None
        self.on_body: Callable[[], Problem | None] | None = None
        self.closes_connection: Callable[[], bool] = bool
        self.status: int | None = None
        self.is_complete = False
        self.is_instrumented = False  # the span of the whole is made by the instrumentation

    @property
    def waits_for_body(self) -> bool:
        """Tell whether the application will read a body."""
        return self._scope["method"] in _WITH_BODY and any(
            (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
            for name, value in self._scope["headers"]
        )

    def refuse_announced_size(self) -> None:
        """Refuse a body that says it is too large before a byte of it is read."""
        for name, value in self._scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._max:
                raise PayloadTooLarge(f"At most {self._max} bytes are accepted.")

    async def receive(self) -> Message:
        """Pass on what the client sends, bounded in size and time."""
        if self._unread is not None:
            message, self._unread = self._unread, None
            return message
        if self._body_complete:
            return await self._receive()  # waits for the disconnect; no bound belongs here
        if self._body_due is None:
            self._body_due = asyncio.get_running_loop().time() + BODY_TIMEOUT_SECONDS
        try:
            async with asyncio.timeout_at(self._body_due):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout from error
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._max:
                raise PayloadTooLarge(f"At most {self._max} bytes are accepted.")
            if not message.get("more_body", False):
                self._complete_body()
        return message

    def unread(self, message: Message) -> None:
        """Put back what was received last; the next one to receive is given it."""
        self._unread = message

    def _complete_body(self) -> None:
        self._body_complete = True
        problem = self.on_body() if self.on_body is not None else None
        if problem is not None:
            raise problem

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, with the headers that every response carries."""
        if not self._is_taken_over:
            await self._pass_on(message)

    async def answer(self, response: Response) -> None:
        """Send what the application answers, in one piece if that can be: two take twice as many system calls."""
        carrier = self._carrier
        is_whole = type(response) is Response and response.background is None
        if carrier is None or not (is_whole and carrier.takes_whole) or self._is_taken_over or self.closes_connection():
            await response(self._scope, self.receive, self.send)
            return
        headers = self._with_common(response.raw_headers)
        head = b"".join([b"%s: %s\r\n" % line for line in headers])
        if not head.count(b"\r") == head.count(b"\n") == len(headers):
            raise ValueError("a header breaks its line")
        self.status, self.is_complete = response.status_code, True
        carrier.deliver(response.status_code, head, bytes(response.body))

    async def take_over(self, message: Message) -> None:
        """Answer in the application's place; what it still says goes nowhere."""
        self._is_taken_over = True
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._with_common(message["headers"])
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        await self._send(message)

    def _with_common(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Add what every response carries; on the list itself, as this is done for every one of them."""
        headers = list(given)
        names = {name for name, _ in headers}
        headers.append((b"x-request-id", self.trace.request_id.encode()))
        headers += [(name.lower().encode(), value.encode()) for name, value in self._consistency.response_headers()]
        headers += [header for header in COMMON_HEADERS if header[0] not in names]
        if self.closes_connection():
            headers.append((b"connection", b"close"))
        return headers
