"""The one ASGI middleware: ids, admission, deadline, body bound, metrics, headers, access log, and the last catch.

Plain ASGI: Starlette's BaseHTTPMiddleware cancels inner work on disconnect and costs half the throughput.
"""

import asyncio
import time
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from telemed.kernel.deadline import Deadline, current_deadline
from telemed.kernel.http.admission import Admission, Place, held_place
from telemed.kernel.http.deadlines import Countdown, Deadlines
from telemed.kernel.http.exchange import Exchange
from telemed.kernel.http.express import Express, Memory
from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.http.protocol import CANCELLED_BECAUSE, Because
from telemed.kernel.http.request_metrics import CLIENT_GONE, RequestMetrics, method_label, traffic_label
from telemed.kernel.http.route_table import UNKNOWN, KnownRoute, RouteTable
from telemed.kernel.http.straight import StraightWays
from telemed.kernel.problems import InternalError, Overloaded, Problem, Unavailable
from telemed.kernel.replication.exchange import Consistency, current_consistency
from telemed.kernel.resources import Resources
from telemed.kernel.telemetry.answered import UNMATCHED, answered_now
from telemed.kernel.telemetry.context import begin_trace, current_trace
from telemed.kernel.telemetry.logs import get_logger, log_request
from telemed.kernel.telemetry.rendering import done_request
from telemed.kernel.telemetry.spans import Sketch, look_at, look_away, span

log = get_logger("http")

# Never refused, counted or traced: they are how an operator learns of an overload.
_PLATFORM_PATHS = frozenset({"/livez", "/readyz", "/metrics"})


class Edge:
    """Surrounds every request of an application."""

    def __init__(
        self,
        app: ASGIApp,
        sampled_app: ASGIApp,
        *,
        service: str,
        routes: RouteTable,
        memories: Mapping[str, Memory],
        straight: StraightWays,
        resources: Resources,
    ) -> None:
        settings = resources.settings
        self._app = app
        self._sampled_app = sampled_app  # the same, instrumented
        self.straight = straight
        self._service = service
        self._routes = routes
        self._metrics = resources.metrics
        self._requests = RequestMetrics(service, resources.metrics, routes.places)
        self._tracing = resources.tracing
        self._health = resources.health
        self._max_body_bytes = settings.max_body_bytes
        self._deadlines = Deadlines(settings.request_deadline_seconds, resources.clock)
        self._admission = Admission(
            settings.admission_limit,
            lateness_seconds=lambda: resources.health.lateness_seconds,
            metrics=resources.metrics,
        )
        self._memories = memories
        self.express: Express | None = Express(
            memories,
            routes=routes,
            admission=self._admission,
            requests=self._requests,
            tracing=resources.tracing,
            health=resources.health,
            count_overloaded=resources.metrics.problems.labels(service, Overloaded.slug()).inc,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        is_platform = scope["path"] in _PLATFORM_PATHS
        trace = begin_trace(
            traceparent=headers.get(b"traceparent", b"").decode("latin-1"),
            request_id=headers.get(b"x-request-id", b"").decode("latin-1") or None,
            decide=_never if is_platform else self._tracing.decide,
        )
        token = current_trace.set(trace)
        consistency = Consistency.of(scope["headers"])
        consistency_token = current_consistency.set(consistency)
        exchange = Exchange(
            scope, receive, send, trace=trace, consistency=consistency, max_body_bytes=self._max_body_bytes
        )
        exchange.closes_connection = self._is_draining
        try:
            if is_platform:
                await self._catch(scope, exchange, UNKNOWN)
            else:
                await self._admit(scope, exchange, headers)
        finally:
            current_consistency.reset(consistency_token)
            current_trace.reset(token)

    def _is_draining(self) -> bool:
        return self._health.is_draining

    async def _admit(self, scope: Scope, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        route = self._routes.find(scope["method"], scope["path"])
        traffic = traffic_label(headers.get(b"user-agent"))
        place = held_place(scope) or self._admission.place(route.priority, room=self._room(scope))
        refusal = place.refusal() if exchange.waits_for_body else place.take()
        if refusal is not None:
            # Counted, but not logged: a line costs more than the refusal, and they come in thousands.
            await self._answer(scope, exchange, refusal)
            self._requests.refused(method_label(scope["method"]), route.template, "503", traffic)
            return
        sketch = self._tracing.sketch()
        token = look_at(sketch)
        started = time.perf_counter()
        try:
            await self._serve(scope, exchange, route, place, headers.get(b"x-request-deadline"))
        finally:
            place.free()
            look_away(token)
            self._record(scope, exchange, route, traffic, sketch, time.perf_counter() - started)

    def _room(self, scope: Scope) -> int | None:
        memory = self._memories.get(scope["path"]) if scope["method"] == "GET" else None
        return memory.room() if memory is not None else None

    async def _serve(
        self, scope: Scope, exchange: Exchange, route: KnownRoute, place: Place, wish: bytes | None
    ) -> None:
        """Let the application work until the deadline."""
        if exchange.waits_for_body:
            exchange.on_body = place.take
        try:
            deadline = self._deadlines.of(scope, wish)
        except Problem as problem:
            await self._answer(scope, exchange, problem)
            return

        async def answer_instead(problem: Problem) -> None:
            if exchange.status is None:
                self._count_problem(problem)
                await problem_response(problem, path=scope["path"])(scope, exchange.receive, exchange.take_over)

        token = current_deadline.set(deadline)
        countdown = Countdown(deadline, answer_instead)
        try:
            await self._catch(scope, exchange, route)
        except asyncio.CancelledError:
            reason = _why_cancelled(scope, deadline)
            if reason is None:
                raise  # by somebody of whom we know nothing
            countdown.stop()
            _uncancel()
            await self._answer(scope, exchange, reason)
        finally:
            countdown.stop()
            current_deadline.reset(token)

    async def _catch(self, scope: Scope, exchange: Exchange, known: KnownRoute) -> None:
        """Answer whatever the application leaves unanswered."""
        try:
            exchange.refuse_announced_size()
            straight = self.straight.get((scope["method"], known.template))
            if straight is not None and await straight.serve(scope, exchange):
                return
            if exchange.trace.sampled:
                exchange.is_instrumented = True
                with self._tracing.root_of(exchange.trace):
                    await self._sampled_app(scope, exchange.receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await self._answer(scope, exchange, problem)
        except ClientDisconnect:
            scope[CANCELLED_BECAUSE] = Because.CLIENT_GONE
        except Exception:
            # Logged with the ids that the client is given; the client learns nothing else.
            route = getattr(scope.get("route"), "path", UNMATCHED)
            log.exception("request.failed", method=method_label(scope["method"]), route=route)
            await self._answer(scope, exchange, InternalError())

    def _count_problem(self, problem: Problem) -> None:
        self._metrics.problems.labels(self._service, problem.slug()).inc()

    async def _answer(self, scope: Scope, exchange: Exchange, problem: Problem) -> None:
        if exchange.status is None and scope.get(CANCELLED_BECAUSE) is not Because.CLIENT_GONE:
            self._count_problem(problem)
            response = problem_response(problem, path=scope["path"])
            # The application's own answer is what the instrumentation saw; this one it did not.
            with span("problem.sent", attributes={"telemed.problem": problem.slug()}):
                await response(scope, exchange.receive, exchange.send)

    def _record(
        self,
        scope: Scope,
        exchange: Exchange,
        known: KnownRoute,
        traffic: str,
        sketch: Sketch | None,
        seconds: float,
    ) -> None:
        is_abandoned = scope.get(CANCELLED_BECAUSE) is Because.CLIENT_GONE and not exchange.is_complete
        route = getattr(scope.get("route"), "path", known.template)  # without one if it never got to the router
        status = CLIENT_GONE if is_abandoned or exchange.status is None else str(exchange.status)
        event = "request.abandoned" if is_abandoned else "request.answered"
        method, scheme = method_label(scope["method"]), scope.get("scheme", "http")
        answered = answered_now(event, exchange.trace, method, route, status, scheme, seconds)
        is_kept = False
        if sketch is not None:
            done = done_request(answered)
            done.has_root = exchange.is_instrumented
            is_kept = self._tracing.finish(sketch, exchange.trace, done)
        trace_id = exchange.trace.trace_id if is_kept else None
        self._requests.answered(method, route, status, traffic, seconds, trace_id=trace_id)
        log_request(answered)


def _never(_caller: bool | None) -> bool:  # noqa: FBT001 - what `begin_trace` calls
    return False


def _why_cancelled(scope: Scope, deadline: Deadline) -> Problem | None:
    """Give the answer to a request that was cancelled, by the deadline, the protocol or the server."""
    if deadline.has_passed or (CANCELLED_BECAUSE in scope and deadline.may_have_acted):
        return deadline.problem()
    if CANCELLED_BECAUSE in scope:
        return Unavailable("This process is ending; nothing was done.")
    return None


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
