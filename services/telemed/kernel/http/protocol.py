"""What uvicorn's protocol leaves open: bounds on a request's headers, and the end of a connection.

Nobody works for a client that is gone, and no connection is closed while a request may be on its way.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from telemed.kernel.http.admission import held_place
from telemed.kernel.http.exchange import CARRIER
from telemed.kernel.http.express import Express
from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.problems import MalformedRequest, Problem, RequestHeadersTooLarge
from telemed.kernel.telemetry.context import begin_trace, current_trace

MAX_HEADER_BYTES = 32 * 1024  # four times what common proxies pass on
# From the first byte of a request to the end of its headers; a client that drips must not hold a connection for ever.
HEADERS_WITHIN_SECONDS = 10.0
# Where the scope of a request whose task was cancelled says why; the edge answers, counts and logs accordingly.
CANCELLED_BECAUSE = "telemed.cancelled_because"


class Because(Enum):
    """Why a request's task was cancelled from below the application."""

    CLIENT_GONE = "client gone"
    SERVER_ENDS = "server ends"


class _Carrier:
    """The way back for a complete response, in one piece; leaves the connection as uvicorn leaves it after one.

    uvicorn writes head and body one after the other, each with a system call of its own.
    """

    __slots__ = ("_app", "_cycle", "_protocol")

    def __init__(self, protocol: "BoundedHttpProtocol", cycle: RequestResponseCycle, app: Any) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._app = app

    @property
    def is_gone(self) -> bool:
        """Tell whether nobody is there to be answered."""
        return self._cycle.disconnected or self._cycle.transport.is_closing()

    @property
    def takes_whole(self) -> bool:
        """Tell whether a response may go out in one piece, and the connection stays open after it."""
        cycle = self._cycle
        is_free = not (cycle.response_started or cycle.disconnected or self._protocol.flow.write_paused)
        return is_free and cycle.keep_alive and not cycle.transport.is_closing()

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        """Send a complete response; *head* are its header lines."""
        cycle = self._cycle
        cycle.transport.write(_in_one_piece(cycle.default_headers, status, head, body))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()  # whoever waits for the client to leave
        if not cycle.keep_alive:  # the server has begun to end meanwhile
            cycle.transport.close()
        cycle.on_response()

    def take_ordinary_way(self) -> None:
        """Have the application answer."""
        self._protocol.start_task(self._cycle, self._app)


def _in_one_piece(default_headers: Sequence[tuple[bytes, bytes]], status: int, head: bytes, body: bytes) -> bytes:
    own = b"".join([b"%s: %s\r\n" % header for header in default_headers])  # the date
    return b"".join((STATUS_LINE[status], own, head, b"\r\n", body))


class BoundedHttpProtocol(HttpToolsProtocol):
    """Reads requests whose headers are bounded in size and time; answers what cannot be parsed with a problem.

    Cancels the request that is being served when its connection is lost. A client that closes only its sending half
    counts as gone too, as it does for common proxies: the two cannot be told apart before something is written.
    """

    def __init__(self, *args: Any, express: Express | None = None, **kwargs: Any) -> None:  # the rest is uvicorn's
        super().__init__(*args, **kwargs)
        self._express = express
        self._heads = 0  # requests whose headers have begun on this connection
        self._unfinished: int | None = None  # which of them has headers that are not complete
        self._unfinished_bytes = 0  # of it, without the piece in which it began
        self._pieces_bytes = 0  # of all pieces in which it is, before the one that is being read
        self._piece_bytes = 0
        self._frame_bytes = 0  # what came since bytes of a body did: extensions of chunks, and trailers
        self._headers_due: asyncio.TimerHandle | None = None
        # What is being served. Not uvicorn's `cycle`, which of pipelined requests is the last that was read.
        self._serving: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None
        self._quiet_since = self.loop.time()
        self._is_between_messages = True  # an answer may go out before all of its request has come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the client as long to begin a request as it has between two."""
        super().connection_made(transport)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse headers that grow and grow."""
        if self._express is not None and self._express.is_shedding and self._refuse_unparsed(self._express, data):
            return
        unfinished = self._unfinished
        self._piece_bytes = len(data)
        super().data_received(data)
        if self._unfinished is None:
            self._bound_frame()
            if self.timeout_keep_alive_task is None and self._is_quiet() and not self.transport.is_closing():
                self._wait_for_request()  # blank lines, which begin nothing
            return
        if self._headers_due is None:
            # Only now: almost all headers come in one piece, and a timer would cost them more than reading them.
            self._headers_due = self.loop.call_later(HEADERS_WITHIN_SECONDS, self.transport.close)
        self._pieces_bytes += len(data)
        # Only what continues the same headers counts: one piece may hold the end of a body and the next beginning.
        if unfinished == self._unfinished:
            self._unfinished_bytes += len(data)
            if self._unfinished_bytes > MAX_HEADER_BYTES:
                self._refuse(RequestHeadersTooLarge())

    def on_message_begin(self) -> None:
        """Begin to count bytes and seconds."""
        super().on_message_begin()
        self._is_between_messages = False
        self._stop_clock()
        self._heads += 1
        self._unfinished, self._unfinished_bytes, self._pieces_bytes = self._heads, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header. A field behind the body, a trailer, is none and goes nowhere.

        uvicorn takes it for one (RFC 9110, section 6.5.1, forbids that): behind the back of a proxy that has looked at
        the headers, it could say who calls (`Authorization`) and from where (`X-Forwarded-For`).
        """
        if self._unfinished is not None:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Note that the body goes on."""
        self._frame_bytes = -self._piece_bytes
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Hand the request over, unless its headers came too large in one piece."""
        self._stop_clock()
        self._frame_bytes = -self._piece_bytes
        # They cannot be larger than what they came in.
        if self._pieces_bytes + self._piece_bytes > MAX_HEADER_BYTES and self._head_bytes() > MAX_HEADER_BYTES:
            self._refuse(RequestHeadersTooLarge())
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that what comes now is another request."""
        self._is_between_messages = True
        super().on_message_complete()

    def _refuse_unparsed(self, express: Express, data: bytes) -> bool:
        """Refuse a request past the parser; the connection is then as it would be after any other answer.

        But for its timer, which stays: the handler below finds out how long it was quiet, and none is made each time.
        """
        is_ready = self._is_between_messages and self._is_quiet() and not self.flow.write_paused
        refusal = express.refuse_unparsed(data) if is_ready and not self.transport.is_closing() else None
        if refusal is None:
            return False
        self.transport.write(_in_one_piece(self.server_state.default_headers, *refusal))
        self.server_state.total_requests += 1
        self._quiet_since = self.loop.time()
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless something was refused on it meanwhile."""
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_for_request(left)
        else:
            super().timeout_keep_alive_handler()

    def _bound_frame(self) -> None:
        """Refuse what grows around a body and is no body: its bound does not count that, and the parser may keep it."""
        self._frame_bytes += self._piece_bytes
        if self._frame_bytes <= MAX_HEADER_BYTES:
            return
        if self._serving is not None and self._serving.response_started:
            self.transport.close()
        else:
            self._refuse(RequestHeadersTooLarge())

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock with the connection, and cancel what is being done for it."""
        self._stop_clock()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self.cut_short(Because.CLIENT_GONE)

    def cut_short(self, because: Because) -> None:
        """Cancel the request in flight, if there is one. A COMMIT that has begun is finished all the same."""
        serving, task = self._serving, self._task
        if serving is None or task is None or serving.response_complete or task.done():
            return
        serving.scope[CANCELLED_BECAUSE] = because  # type: ignore[literal-required]  # ASGI allows keys of one's own
        if because is Because.CLIENT_GONE:
            serving.disconnected = True  # uvicorn says so to the last of pipelined requests only
        task.cancel()

    def close_if_quiet(self, for_seconds: float) -> None:
        """Close the connection if nothing is going on and nothing has come for so long."""
        if self._is_quiet() and self.loop.time() - self._quiet_since >= for_seconds:
            self.transport.close()

    def _is_quiet(self) -> bool:
        is_serving = self._serving is not None and not self._serving.response_complete
        return not (is_serving or self.pipeline or self._unfinished is not None)

    def _wait_for_request(self, seconds: float | None = None) -> None:
        # uvicorn does so after a response only: whoever never sends a request would hold a connection for ever.
        wait = seconds if seconds is not None else self.timeout_keep_alive
        self.timeout_keep_alive_task = self.loop.call_later(wait, self.timeout_keep_alive_handler)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve the request: the short way if that leads to an answer, or else as uvicorn does."""
        self._serving, self._task = cycle, None
        # A client that does not read what it was sent, or whose connection is to end, is no case for haste.
        may_be_short = cycle.keep_alive and not self.flow.write_paused
        scope: Any = cycle.scope  # a mutable dictionary, as ASGI has it; uvicorn types it more narrowly
        if self._express is None or not may_be_short or not self._express.begin(scope, _Carrier(self, cycle, app)):
            self.start_task(cycle, app)

    def start_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve the request as uvicorn does, and know by which task."""
        scope: Any = cycle.scope  # as above
        scope[CARRIER] = _Carrier(self, cycle, app)
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        place = held_place(scope)
        if place is not None:
            # The edge gives it back, unless the task is cancelled before it gets there.
            task.add_done_callback(lambda _: place.free())

    def on_response_complete(self) -> None:
        """Note when the connection became quiet."""
        self._quiet_since = self.loop.time()
        super().on_response_complete()

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
        self._unfinished = None
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None
