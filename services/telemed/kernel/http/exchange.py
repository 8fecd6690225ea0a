"""One request's receive and send, with what they must obey: bounds on the body, headers on the response."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from telemed.kernel.problems import PayloadTooLarge, Problem, RequestTimeout
from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.telemetry.context import Trace

# For the whole body: a bound on each piece lets a client drip for hours. Below the server's own deadline of a request,
# so that who is too slow is told so.
BODY_TIMEOUT_SECONDS = 10.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": "max-age=31536000",
}


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
        self._trace = trace
        self._consistency = consistency
        self._max = max_body_bytes
        self._received = 0
        self._body_complete = False
        self._body_due: float | None = None
        self._is_taken_over = False
        self.on_body: Callable[[], Problem | None] | None = None
        self.closes_connection: Callable[[], bool] = bool
        self.status: int | None = None
        self.is_complete = False

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

    def _complete_body(self) -> None:
        self._body_complete = True
        problem = self.on_body() if self.on_body is not None else None
        if problem is not None:
            raise problem

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, with the headers that every response carries."""
        if not self._is_taken_over:
            await self._pass_on(message)

    async def take_over(self, message: Message) -> None:
        """Answer in the application's place; what it still says goes nowhere."""
        self._is_taken_over = True
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._trace.request_id
            for name, value in self._consistency.response_headers():
                headers.append(name, value)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if self.closes_connection():
                headers["Connection"] = "close"
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        await self._send(message)
