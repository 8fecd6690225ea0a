"""Answers what was asked before, past the framework.

A service may know the answer to a request without having it routed, validated and rendered again, because the ordinary
way has done so before. Then the ordinary way (a task, the edge, FastAPI, uvicorn's checks of every header) would cost
many times what the answer does. What every request is owed is paid here as well: ids, admission, common headers, the
count, the log line, the trace; tests compare both ways byte for byte. Whatever is unusual about a request (a body, a
deadline of its own, a process that drains) takes the ordinary way, and so does one whose answer holds no more.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from starlette.types import Scope

from telemed.kernel.health import Health
from telemed.kernel.http.admission import Admission
from telemed.kernel.http.exchange import COMMON_HEADERS
from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.http.request_metrics import CLIENT_GONE, RequestMetrics, traffic_label
from telemed.kernel.http.route_table import KnownRoute, RouteTable
from telemed.kernel.problems import Problem
from telemed.kernel.telemetry.answered import answered_now
from telemed.kernel.telemetry.context import Trace, begin_trace, current_trace
from telemed.kernel.telemetry.logs import log_request
from telemed.kernel.telemetry.tracing import Tracing

Headers = Iterable[tuple[bytes, bytes]]
# Takes the body of a JSON response; None says that the answer holds no more.
Then = Callable[[bytes | None], None]
# Begins to find out whether an answer still holds, and calls back soon, within the time that Redis is given.
Recalled = Callable[[Then], None]

_METHOD = "GET"
# Requests with one of these take the ordinary way, which knows what they mean.
_UNUSUAL = frozenset({b"content-length", b"transfer-encoding", b"x-request-deadline", b"expect", b"upgrade"})
_COMMON = b"".join(b"%s: %s\r\n" % header for header in COMMON_HEADERS)  # as they go onto the wire
_HEAD = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %s\r\n%s"


class Memory(Protocol):
    """A service's memory of what it has answered to GET requests of one path, with 200 and JSON."""

    def known(self, asked: bytes) -> Recalled | None:
        """Give the way to the last answer to this query string, if there is one."""
        ...

    def room(self) -> int | None:
        """Give how many requests may be under way at most just now, if fewer than ever: the edge refuses the rest."""
        ...


class Carrier(Protocol):
    """The connection on which a request came."""

    @property
    def is_gone(self) -> bool:
        """Tell whether nobody is there to be answered."""
        ...

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        """Send a complete response; *head* are its header lines."""
        ...

    def take_ordinary_way(self) -> None:
        """Have the application answer."""
        ...


class Express:
    """The short way of one application."""

    def __init__(
        self,
        memories: Mapping[str, Memory],
        *,
        routes: RouteTable,
        admission: Admission,
        requests: RequestMetrics,
        tracing: Tracing,
        health: Health,
        count_problem: Callable[[Problem], None],
    ) -> None:
        self._count_problem = count_problem
        self._memories = {path: (memory, routes.find(_METHOD, path)) for path, memory in memories.items()}
        self._health = health
        self.admission = admission
        self.requests = requests
        self.tracing = tracing

    def begin(self, scope: Scope, carrier: Carrier) -> bool:
        """Begin to answer the request, if its answer is known; the rest is done when that is found to hold.

        Refuses what the process has no room for: in an overload that is most of what comes, and must cost least.
        """
        found = self._memories.get(scope["path"])
        if found is None or scope["method"] != _METHOD or self._health.is_draining:
            return False
        memory, route = found
        is_refused = self.admission.is_closed_to(route.priority, memory.room())
        recalled = memory.known(scope["query_string"]) if not is_refused else None
        if recalled is None and not is_refused:
            # From now on, and not when its task begins: of what comes at once, all would find the same room.
            self.admission.hold(scope, route.priority)
            return False
        headers = _read(scope["headers"])
        if headers is None:
            return False
        traceparent, request_id, user_agent = headers
        trace = begin_trace(traceparent=traceparent, request_id=request_id, decide=self.tracing.decide)
        traffic = traffic_label(user_agent)
        if recalled is not None:
            recalled(_Ride(self, carrier, trace, route, traffic, scope).arrive)
            return True
        refusal = self.admission.refusal(route.priority, memory.room())
        if refusal is None:
            return False
        self._refuse(carrier, refusal, trace, path=scope["path"])
        self.requests.refused(_METHOD, route.template, str(refusal.status), traffic)
        return True

    def _refuse(self, carrier: Carrier, refusal: Problem, trace: Trace, *, path: str) -> None:
        self._count_problem(refusal)
        token = current_trace.set(trace)
        response = problem_response(refusal, path=path)
        current_trace.reset(token)
        lines = [*response.raw_headers, (b"x-request-id", trace.request_id.encode()), *COMMON_HEADERS]
        carrier.deliver(refusal.status, b"".join([b"%s: %s\r\n" % line for line in lines]), bytes(response.body))


class _Ride:
    """One request on the short way. Nothing waits for it: it is called when its answer is there."""

    __slots__ = ("_carrier", "_express", "_route", "_scope", "_started", "_trace", "_traffic")

    def __init__(
        self, express: Express, carrier: Carrier, trace: Trace, route: KnownRoute, traffic: str, scope: Scope
    ) -> None:
        self._express = express
        self._carrier = carrier
        self._trace = trace
        self._route = route
        self._traffic = traffic
        self._scope = scope
        self._started = time.perf_counter()
        express.admission.move(route.priority, 1)

    def arrive(self, body: bytes | None) -> None:
        """Answer with the body; without one, the application is to answer."""
        self._express.admission.move(self._route.priority, -1)
        if self._carrier.is_gone:
            self._record(CLIENT_GONE, "request.abandoned")
        elif body is None:
            self._express.admission.hold(self._scope, self._route.priority)
            self._carrier.take_ordinary_way()
        else:
            request_id = self._trace.request_id.encode()
            self._carrier.deliver(200, _HEAD % (len(body), request_id, _COMMON), body)
            self._record("200", "request.answered")

    def _record(self, status: str, event: str) -> None:
        seconds = time.perf_counter() - self._started
        template, trace, scheme = self._route.template, self._trace, self._scope.get("scheme", "http")
        answered = answered_now(event, trace, _METHOD, template, status, scheme, seconds)
        # A trace only of what is sampled: nothing here can fail or be slow without taking the ordinary way. Of one span
        # only: the question to Redis was asked for many.
        is_kept = trace.sampled and self._express.tracing.keep(answered)
        trace_id = trace.trace_id if is_kept else None
        self._express.requests.answered(_METHOD, template, status, self._traffic, seconds, trace_id=trace_id)
        log_request(answered)


def _read(headers: Headers) -> tuple[str | None, str | None, bytes | None] | None:
    """Give the caller's trace, request id and agent; None if a header makes the request unusual."""
    traceparent = request_id = agent = None
    for name, value in headers:
        if name == b"user-agent":
            agent = value
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name in _UNUSUAL:
            return None
    return traceparent, request_id, agent
