"""Answers what was asked before, past the framework.

A service may know the answer to a request without having it routed, validated and rendered again, because the ordinary
way has done so before. Then the ordinary way (a task, the edge, FastAPI, uvicorn's checks of every header) would cost
many times what the answer does. What every request is owed is paid here as well: ids, admission, common headers, the
count, the log line, the trace; tests compare both ways byte for byte. Whatever is unusual about a request (a body, a
deadline of its own, a process that drains) takes the ordinary way, and so does one whose answer holds no more.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from starlette.types import Scope

from telemed.kernel.health import Health
from telemed.kernel.http.admission import Admission
from telemed.kernel.http.exchange import COMMON_HEADERS
from telemed.kernel.http.glance import Caller, at_a_glance
from telemed.kernel.http.request_metrics import CLIENT_GONE, RequestMetrics, traffic_label
from telemed.kernel.http.route_table import KnownRoute, RouteTable
from telemed.kernel.http.shedding import Limited, Shedding, Whole
from telemed.kernel.telemetry.answered import answered_now
from telemed.kernel.telemetry.context import begin_trace
from telemed.kernel.telemetry.logs import log_request
from telemed.kernel.telemetry.tracing import Tracing

Headers = Iterable[tuple[bytes, bytes]]
# Takes the body of a JSON response; None says that the answer holds no more.
Then = Callable[[bytes | None], None]
# Begins to find out whether an answer still holds, and calls back soon, within the time that Redis is given.
Recalled = Callable[[Then], None]

_METHOD = "GET"
# For so long after a refusal what comes is looked at before it is parsed: an overload is not over in less.
_WATCHES_FOR_SECONDS = 1.0
# Requests with one of these take the ordinary way, which knows what they mean.
_UNUSUAL = frozenset({b"content-length", b"transfer-encoding", b"x-request-deadline", b"expect", b"upgrade"})
_COMMON = b"".join(b"%s: %s\r\n" % header for header in COMMON_HEADERS)  # as they go onto the wire
_HEAD = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %s\r\n%s"


class Memory(Limited, Protocol):
    """A service's memory of what it has answered to GET requests of one path, with 200 and JSON."""

    def known(self, asked: bytes) -> Recalled | None:
        """Give the way to the last answer to this query string, if there is one."""
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


class _Known(NamedTuple):
    """What is known of a path."""

    memory: Memory
    route: KnownRoute
    shedding: Shedding


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
        count_overloaded: Callable[[], None],
    ) -> None:
        self._known: dict[str, _Known] = {}
        for path, memory in memories.items():
            route = routes.find(_METHOD, path)
            shedding = Shedding(
                route, memory, admission=admission, requests=requests, count_overloaded=count_overloaded
            )
            self._known[path] = _Known(memory, route, shedding)
        self._health = health
        self._watches_until = 0.0  # on the monotonic clock
        self.admission = admission
        self.requests = requests
        self.tracing = tracing

    @property
    def is_shedding(self) -> bool:
        """Tell whether `refuse_unparsed` is worth its asking: whether anything was refused just now."""
        return time.monotonic() < self._watches_until

    def refuse_unparsed(self, data: bytes) -> Whole | None:
        """Give the refusal of the request that *data* is, if it can be read at a glance and there is no room for it."""
        read = at_a_glance(data)
        known = self._known.get(read[0]) if read is not None else None
        if read is None or known is None or self._health.is_draining:
            return None
        return self._refuse(known.shedding, read[1])

    def begin(self, scope: Scope, carrier: Carrier) -> bool:
        """Begin to answer the request, if its answer is known; the rest is done when that is found to hold.

        Refuses what the process has no room for: in an overload that is most of what comes, and must cost least.
        """
        known = self._known.get(scope["path"])
        if known is None or scope["method"] != _METHOD or self._health.is_draining:
            return False
        memory, route, shedding = known
        is_refused = shedding.is_on
        recalled = memory.known(scope["query_string"]) if not is_refused else None
        if recalled is None and not is_refused:
            # From now on, and not when its task begins: of what comes at once, all would find the same room.
            self.admission.hold(scope, route.priority)
            return False
        caller = _read(scope["headers"])
        if caller is None:
            return False
        if recalled is not None:
            recalled(_Ride(self, carrier, caller, route, scope).arrive)
            return True
        refusal = self._refuse(shedding, caller)
        if refusal is not None:
            carrier.deliver(*refusal)
        return refusal is not None

    def _refuse(self, shedding: Shedding, caller: Caller) -> Whole | None:
        refusal = shedding.refuse(caller)
        if refusal is not None:
            self._watches_until = time.monotonic() + _WATCHES_FOR_SECONDS
        return refusal


class _Ride:
    """One request on the short way. Nothing waits for it: it is called when its answer is there."""

    __slots__ = ("_carrier", "_express", "_route", "_scope", "_started", "_trace", "_traffic")

    def __init__(self, express: Express, carrier: Carrier, caller: Caller, route: KnownRoute, scope: Scope) -> None:
        traceparent, request_id, user_agent = caller
        self._express = express
        self._carrier = carrier
        self._trace = begin_trace(traceparent=traceparent, request_id=request_id, decide=express.tracing.decide)
        self._route = route
        self._traffic = traffic_label(user_agent)
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


def _read(headers: Headers) -> Caller | None:
    """Read who asks; None if a header makes the request unusual."""
    traceparent = request_id = user_agent = None
    for name, value in headers:
        if name == b"user-agent":
            user_agent = value
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name in _UNUSUAL:
            return None
    return traceparent, request_id, user_agent
