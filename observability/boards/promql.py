"""The few shapes of query that the boards are made of.

Each picks the chosen namespace and keeps it as a label, so that no division and no sum mixes two of them up.
"""

from collections.abc import Iterable

NAMESPACE = 'namespace=~"$namespace"'
SERVICE = 'service=~"$service"'
USERS = 'traffic="user"'
# What is no part of the API: unknown addresses, and the pages that describe it.
ROUTES = 'route!~"unmatched|/docs.*|/openapi.json"'
FAILED = 'status=~"5.."'
NOT_FAILED = 'status_class!="5xx"'  # a quick refusal must not make an outage look fast
ANSWERED = 'status!="499"'  # the objectives leave out whose client went first: nobody knows what it would have got
READS = 'method=~"GET|HEAD"'
WRITES = 'method=~"POST|PUT|PATCH|DELETE"'
# A process of ours; `process_*` and `up` are shown by others in the namespace as well.
OURS = f"telemed_build_info{{{NAMESPACE}}}"


def series(metric: str, *matchers: str) -> str:
    """Pick a metric's series of the chosen namespace."""
    return f"{metric}{{{', '.join((NAMESPACE, *matchers))}}}"


def rate(metric: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Sum what a counter grows by in a second."""
    return f"sum by ({_labels(by)}) (rate({series(metric, *matchers)}[$__rate_interval]))"


def increase(metric: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Sum what a counter grew by in the time that is shown."""
    return f"sum by ({_labels(by)}) (increase({series(metric, *matchers)}[$__range]))"


def share(part: str, whole: str) -> str:
    """Divide two sums; a part that has never happened is 0, a whole of nothing gives no data instead of NaN."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def quantile(
    at: float, histogram: str, *matchers: str, by: Iterable[str] = (), window: str = "$__rate_interval"
) -> str:
    """Estimate a quantile over all processes, from the sum of their buckets; of nothing there is no data."""
    buckets = f"rate({series(f'{histogram}_bucket', *matchers)}[{window}])"
    return f"histogram_quantile({at}, sum by ({_labels(('le', *by))}) ({buckets})) >= 0"


def buckets(histogram: str, *matchers: str) -> str:
    """Count what fell into each bucket, for a heatmap."""
    return f"sum by ({_labels(('le',))}) (increase({series(f'{histogram}_bucket', *matchers)}[$__rate_interval]))"


def total(gauge: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Sum a gauge over all processes."""
    return f"sum by ({_labels(by)}) ({series(gauge, *matchers)})"


def highest(gauge: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Take the process that shows the most."""
    return f"max by ({_labels(by)}) ({series(gauge, *matchers)})"


def lowest(gauge: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Take the process that shows the least."""
    return f"min by ({_labels(by)}) ({series(gauge, *matchers)})"


def age(timestamp: str, *matchers: str, by: Iterable[str] = ()) -> str:
    """Say how long ago the latest of some instants is; one that never was (0) gives no data."""
    return f"time() - (max by ({_labels(by)}) ({series(timestamp, *matchers)}) > 0)"


def of_ours(expression: str) -> str:
    """Keep what belongs to a process of ours."""
    return f"{expression} and on (namespace, pod) {OURS}"


def seen_from_outside(query: str) -> str:
    """Take the chosen namespace out of a query: what is seen from outside has the namespace of the one who looks."""
    return query.replace(NAMESPACE, 'namespace!=""')


def _labels(by: Iterable[str]) -> str:
    return ", ".join(("namespace", *by))
