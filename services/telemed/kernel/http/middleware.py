"""The one ASGI middleware: ids, body bound, metrics, security headers, access log, and the last catch.

Plain ASGI: Starlette's BaseHTTPMiddleware cancels inner work on disconnect and costs half the throughput.
"""

import asyncio
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.problems import InternalError, PayloadTooLarge, Problem, RequestTimeout
from telemed.kernel.replication.exchange import Consistency, current_consistency
from telemed.kernel.telemetry.context import Trace, begin_trace, current_trace
from telemed.kernel.telemetry.logs import get_logger
from telemed.kernel.telemetry.metrics import Metrics

log = get_logger("http")

BODY_TIMEOUT_SECONDS = 20.0  # for the whole body: a bound on each piece lets a client drip for hours
_PLATFORM_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": "max-age=31536000",
}


class Edge:
    """Surrounds every request of an application."""

    def __init__(self, app: ASGIApp, *, service: str, metrics: Metrics, max_body_bytes: int) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace = begin_trace(
            traceparent=headers.get(b"traceparent", b"").decode("latin-1"),
            request_id=headers.get(b"x-request-id", b"").decode("latin-1") or None,
        )
        token = current_trace.set(trace)
        consistency = Consistency.of(scope["headers"])
        consistency_token = current_consistency.set(consistency)
        exchange = _Exchange(scope, receive, send, trace, consistency, self._max_body_bytes)
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._serve(scope, exchange)
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, exchange, time.perf_counter() - started)
            current_consistency.reset(consistency_token)
            current_trace.reset(token)

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            exchange.refuse_announced_size()
            await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await self._answer(scope, exchange, problem)
        except ClientDisconnect:
            log.info("request.abandoned")
        except Exception:
            # Logged with the ids that the client is given; the client learns nothing else.
            log.exception("request.failed", path=scope["path"])
            await self._answer(scope, exchange, InternalError())

    async def _answer(self, scope: Scope, exchange: "_Exchange", problem: Problem) -> None:
        if exchange.status is None:
            self._metrics.problems.labels(self._service, problem.slug()).inc()
            response = problem_response(problem, path=scope["path"])
            await response(scope, exchange.receive, exchange.send)

    def _record(self, scope: Scope, exchange: "_Exchange", seconds: float) -> None:
        if scope["path"] in _PLATFORM_PATHS:
            return
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = str(exchange.status or 499)
        self._metrics.requests.labels(self._service, method, route, status).inc()
        self._metrics.latency.labels(self._service, method, route).observe(seconds)
        log.info("request.answered", method=method, route=route, status=status, ms=round(seconds * 1000, 1))


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Exchange:
    """One request's receive and send, with what they must obey."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
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
        self.status: int | None = None

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
            self._body_complete = not message.get("more_body", False)
            if self._received > self._max:
                raise PayloadTooLarge(f"At most {self._max} bytes are accepted.")
        return message

    async def send(self, message: Message) -> None:
        """Add the headers that every response carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._trace.request_id
            for name, value in self._consistency.response_headers():
                headers.append(name, value)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
