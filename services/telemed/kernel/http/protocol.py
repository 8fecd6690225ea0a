"""What uvicorn's parser leaves open: how large and how slow a request's headers may be, and how it says no."""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.problems import MalformedRequest, Problem, RequestHeadersTooLarge
from telemed.kernel.telemetry.context import begin_trace, current_trace

MAX_HEADER_BYTES = 32 * 1024  # four times what common proxies pass on
# From the first byte of a request to the end of its headers; a client that drips must not hold a connection for ever.
HEADERS_WITHIN_SECONDS = 10.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Reads requests whose headers are bounded in size and time; answers what cannot be parsed with a problem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # whatever uvicorn hands over
        super().__init__(*args, **kwargs)
        self._unfinished_bytes = 0
        self._headers_due: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse headers that grow and grow."""
        unfinished = self._headers_due
        super().data_received(data)
        # Only what continues the same headers counts: one piece may hold the end of a body and the next beginning.
        if unfinished is not None and unfinished is self._headers_due:
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > MAX_HEADER_BYTES:
                self._refuse(RequestHeadersTooLarge())

    def on_message_begin(self) -> None:
        """Begin to count bytes and seconds."""
        super().on_message_begin()
        self._unfinished_bytes = 0
        self._headers_due = self.loop.call_later(HEADERS_WITHIN_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its headers came too large in one piece."""
        self._stop_clock()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEADER_BYTES:
            self._refuse(RequestHeadersTooLarge())
        else:
            super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock with the connection."""
        self._stop_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn's own answer is plain text."""
        del msg  # never says more than that
        self._refuse(MalformedRequest())

    def _refuse(self, problem: Problem) -> None:
        self._stop_clock()
        if self.transport.is_closing():
            return
        # There is no request yet whose ids could be continued, but the answer can be found again by these.
        trace = begin_trace(traceparent=None, request_id=None)
        token = current_trace.set(trace)
        response = problem_response(problem, path="")
        current_trace.reset(token)
        headers = [*response.raw_headers, (b"x-request-id", trace.request_id.encode()), (b"connection", b"close")]
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None
