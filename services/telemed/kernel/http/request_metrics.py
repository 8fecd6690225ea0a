"""Counts requests. Series are looked up once and kept: to find them by their labels costs more than to count."""

from collections.abc import Iterable
from typing import NamedTuple

from telemed.kernel.http.route_table import Place
from telemed.kernel.telemetry.answered import OTHER_METHOD
from telemed.kernel.telemetry.metrics import Metrics
from telemed.kernel.telemetry.tallies import Tally, Timing

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Failures of ours that a route may answer with. There at zero from the start: of a series that begins with the failure
# Prometheus cannot see the increase.
_FAILURES = ("500", "503", "504")
# Products in `User-Agent` of those who only try the platform out; what they meet is nobody's experience.
_SYNTHETIC = (b"telemed-smoke/", b"telemed-probe/")
CLIENT_GONE = "499"


_Key = tuple[str, str, str, str]  # method, route, status, traffic


class _Series(NamedTuple):
    requests: Tally
    latency: Timing


class RequestMetrics:
    """The counters and histograms of one application's requests; every label comes from a closed set."""

    def __init__(self, service: str, metrics: Metrics, places: Iterable[Place]) -> None:
        self._service = service
        self._requests = metrics.requests
        self._latency = metrics.latency
        self._known: dict[_Key, _Series] = {}
        for method, route, success in places:
            self._series((method, route, str(success), "user"))
            for status in _FAILURES:
                self._requests.labels(service, method, route, status, "user")

    def refused(self, method: str, route: str, status: str, traffic: str) -> None:
        """Count a request that nothing was done for."""
        self._series((method, route, status, traffic)).requests.inc()

    def answered(
        self, method: str, route: str, status: str, traffic: str, seconds: float, *, trace_id: str | None
    ) -> None:
        """Count a request and how long it took; *trace_id*, of a trace that is kept, is an example in its bucket."""
        series = self._series((method, route, status, traffic))
        series.requests.inc()
        series.latency.observe(seconds, trace_id)

    def _series(self, key: _Key) -> _Series:
        series = self._known.get(key)
        if series is None:
            method, route, status, traffic = key
            status_class = status if status == CLIENT_GONE else f"{status[0]}xx"
            series = self._known[key] = _Series(
                self._requests.labels(self._service, *key),
                self._latency.labels(self._service, method, route, status_class, traffic),
            )
        return series


def method_label(method: str) -> str:
    """Give the method, if it is one that HTTP knows."""
    return method if method in METHODS else OTHER_METHOD


def traffic_label(user_agent: bytes | None) -> str:
    """Tell users from those who only try the platform out."""
    return "synthetic" if user_agent is not None and user_agent.startswith(_SYNTHETIC) else "user"
