"""Refuses what there is no room for, with an answer that was written before.

In an overload most of what comes is refused, and what that costs is missing for those who are answered. To make the
answer of its parts each time, and to find its counters by their labels, would be half of a refusal.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, Protocol

from telemed.kernel.http.admission import Admission
from telemed.kernel.http.exchange import COMMON_HEADERS
from telemed.kernel.http.glance import Caller
from telemed.kernel.http.problem_responses import problem_response
from telemed.kernel.http.request_metrics import RequestMetrics, traffic_label
from telemed.kernel.http.route_table import KnownRoute
from telemed.kernel.problems import Overloaded
from telemed.kernel.telemetry.context import Trace, begin_trace, current_trace

# A complete response: its status, its header lines, its body.
Whole = tuple[int, bytes, bytes]

_METHOD = "GET"
_STATUS = str(Overloaded.status)
# They stand where an answer's own go. A trace's id is always as long as this one, so the length holds.
_TRACE_ID, _REQUEST_ID = "T" * 32, "R" * 32


class Limited(Protocol):
    """What may have less room than the process has."""

    def room(self) -> int | None:
        """Give how many requests may be under way at most just now, if fewer than ever: the edge refuses the rest."""
        ...


class _Written(NamedTuple):
    """An answer, cut where its ids go."""

    head: list[bytes]
    body: list[bytes]


class Shedding:
    """The refusals of one route, whose template is a path."""

    def __init__(
        self,
        route: KnownRoute,
        limited: Limited,
        *,
        admission: Admission,
        requests: RequestMetrics,
        count_overloaded: Callable[[], None],
    ) -> None:
        self._route = route
        self._limited = limited
        self._admission = admission
        self._requests = requests
        self._count_overloaded = count_overloaded
        self._written: dict[timedelta, _Written] = {}  # by when to come back, which is a few whole seconds

    @property
    def is_on(self) -> bool:
        """Tell whether one more request would be refused now."""
        return self._admission.is_closed_to(self._route.priority, self._limited.room())

    def refuse(self, caller: Caller) -> Whole | None:
        """Give the answer to one more request, and count it as sent; None if there is room for it."""
        come_back = self._admission.turn_away(self._route.priority, self._limited.room())
        if come_back is None:
            return None
        traceparent, request_id, user_agent = caller
        self._count_overloaded()
        self._requests.refused(_METHOD, self._route.template, _STATUS, traffic_label(user_agent))
        trace = begin_trace(traceparent=traceparent, request_id=request_id)  # of what is refused no span is made
        written = self._written.get(come_back)
        if written is None:
            written = self._written[come_back] = _write(self._route.template, come_back)
        return (
            Overloaded.status,
            trace.request_id.encode().join(written.head),
            trace.trace_id.encode().join(written.body),
        )


def _write(path: str, come_back: timedelta) -> _Written:
    token = current_trace.set(Trace(_REQUEST_ID, _TRACE_ID, "", sampled=False))
    response = problem_response(Overloaded(retry_after=come_back), path=path)
    current_trace.reset(token)
    lines = [*response.raw_headers, (b"x-request-id", _REQUEST_ID.encode()), *COMMON_HEADERS]
    head = b"".join([b"%s: %s\r\n" % line for line in lines])
    return _Written(head.split(_REQUEST_ID.encode()), bytes(response.body).split(_TRACE_ID.encode()))
