"""The server's own word: its histogram of the same requests, held against what the generator saw.

What is compared is the time from when a request was really sent to its last byte, not from its intended start: the
server cannot know when somebody wished to ask. Both are put into the server's buckets first, so that what is lost there
is lost on both sides.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families

from telemed_load.gates import Gate
from telemed_load.latency import Milliseconds
from telemed_load.measurements import Measurements
from telemed_load.routes import ROUTES

HISTOGRAM = "telemed_http_request_duration_seconds"
LIMIT = 0.1  # how far the two may lie apart
# The way through two kernels and two event loops, and the width of the first bucket: less than this no histogram with
# such buckets can tell, and against limits of 200 ms and more it is nothing.
FLOOR_SECONDS = 0.005
# At the window's edges one side counts what the other does not: the look at the metrics takes a moment, too.
AT_THE_EDGES = 5
_ANSWERED = ("2xx", "3xx", "4xx")  # refusals for want of room are not in the histogram, and 5xx are no times
Series = Counter[tuple[str, str, float]]  # (method, route, upper edge) -> requests up to that edge


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both sides say of the requests of one gate; *disagreement* is empty where they agree.

    Too few: a tenth of those beyond the quantile is less than one request, so only how many there were, and how many
    were within the limit, was compared. Not promised: only how many there were.
    """

    slo: str
    client_requests: int
    server_requests: int
    client_within_ratio: float | None
    server_within_ratio: float | None
    client_quantile_seconds: float | None
    server_quantile_seconds: float | None
    disagreement: str
    times: Literal["compared", "too few", "not promised", "none"] = "compared"

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return asdict(self)


class Unreadable(Exception):
    """The servers' histograms do not cover the window: a page is missing, or a process began anew meanwhile."""


def compare_all(gates: Sequence[Gate], measured: Measurements, judged: Sequence[str] | None = None) -> list[Comparison]:
    """Compare for each gate that has a threshold: all, but for those that are not *judged* only how many there were.

    Of a stampede nobody promises times, and there are two of each: the server's clock begins when it reads a request,
    which of 500 at one instant it cannot do at once.

    Raises:
        Unreadable: there is nothing to compare with.
    """
    grown = growth(measured.scrapes.get("before", []), measured.scrapes.get("after", []))
    return [
        compare(gate, measured, grown, is_judged=judged is None or gate.slo in judged)
        for gate in gates
        if gate.threshold_seconds is not None
    ]


def growth(before: Sequence[str], after: Sequence[str]) -> Series:
    """Give by how much the histograms of all servers grew between two looks.

    Raises:
        Unreadable: a page could not be had, or a counter went back.
    """
    if not before or len(before) != len(after):
        raise Unreadable("no server's metrics were read")
    grown: Series = Counter()
    for earlier, later in zip(before, after, strict=True):
        first, last = _read(earlier), _read(later)
        for series, count in last.items():
            if count < first[series]:
                raise Unreadable("a process began anew during the run: its counters went back")
            grown[series] += count - first[series]
    return grown


def compare(gate: Gate, measured: Measurements, grown: Series, *, is_judged: bool = True) -> Comparison:
    """Compare the requests that the gate covers."""
    assert gate.threshold_seconds is not None
    kinds = (kind for name, kind in measured.kinds.items() if gate.covers(ROUTES[name]))
    client = Milliseconds.sum(kind.service for kind in kinds)
    server = _covered(gate, grown)
    edges = sorted(server)
    seen = {edge: client.within(edge) if math.isfinite(edge) else client.count for edge in edges}
    total = server.get(math.inf, 0)
    if not total or not client.count:
        empty = "" if abs(total - client.count) <= AT_THE_EDGES else _apart("requests", client.count, total)
        return Comparison(gate.slo, client.count, total, None, None, None, None, empty, "none")
    # A profile may ask for a time that is no bucket's edge.
    limit = max((edge for edge in edges if edge <= gate.threshold_seconds), default=edges[0])
    within, within_there, both = client.within(limit) / client.count, server[limit] / total, min(client.count, total)
    is_too_small = round(both * (1 - gate.objective_ratio) * LIMIT, 9) < 1
    told = [_apart("requests", client.count, total)] if _differ(client.count, total) else []
    if is_judged and _differ(within * both, within_there * both):
        told.append(_apart("share within the limit", within, within_there))
    if is_judged and not is_too_small and (contradiction := _contradiction(client, server, gate.objective_ratio)):
        told.append(contradiction)
    return Comparison(
        slo=gate.slo,
        client_requests=client.count,
        server_requests=total,
        client_within_ratio=within,
        server_within_ratio=within_there,
        client_quantile_seconds=interpolated(seen, gate.objective_ratio),
        server_quantile_seconds=interpolated(server, gate.objective_ratio),
        disagreement="; ".join(told),
        times="not promised" if not is_judged else "too few" if is_too_small else "compared",
    )


def _contradiction(client: Milliseconds, server: Mapping[float, int], ratio: float) -> str:
    """Say where the server's quantile cannot be the client's, were that a tenth longer or shorter.

    Quantiles interpolated from buckets are no measure: where a bucket is wide and holds few, one request more or less
    moves them by a tenth. What a histogram does know is the bucket in which its quantile lies, give or take a tenth of
    the requests beyond it.
    """
    total, slack = server[math.inf], LIMIT * (1 - ratio)
    edges = sorted(server)
    upper = next(edge for edge in edges if server[edge] >= min(1.0, ratio + slack) * total)
    lower = max((edge for edge in edges if server[edge] < (ratio - slack) * total), default=0.0)
    quantile = client.quantile(ratio)
    if lower <= quantile * (1 + LIMIT) + FLOOR_SECONDS and quantile / (1 + LIMIT) - FLOOR_SECONDS <= upper:
        return ""
    return f"p{100 * ratio:g} is {quantile:g} s here, and from {lower:g} to {upper:g} s there"


def interpolated(buckets: Mapping[float, int], ratio: float) -> float:
    """Give a quantile from cumulative buckets, as `histogram_quantile` does: a line within the bucket it lies in."""
    edges = sorted(buckets)
    rank = ratio * buckets[edges[-1]]
    lower, below = 0.0, 0
    for edge in edges:
        if buckets[edge] >= rank:
            if math.isinf(edge):
                return lower
            return lower + (edge - lower) * (rank - below) / max(1, buckets[edge] - below)
        lower, below = edge, buckets[edge]
    return lower


def _read(page: str) -> Series:
    series: Series = Counter()
    for family in text_string_to_metric_families(page):
        if family.name != HISTOGRAM:
            continue
        for sample in family.samples:
            labels = sample.labels
            if not sample.name.endswith("_bucket") or labels.get("traffic") != "user":
                continue
            if labels["status_class"] in _ANSWERED:
                series[labels["method"], labels["route"], float(labels["le"])] += int(sample.value)
    if not series:
        raise Unreadable(page.removeprefix("# ").strip().split("\n")[0][:200] or "a server's metrics were empty")
    return series


def _covered(gate: Gate, grown: Series) -> dict[float, int]:
    found: Counter[float] = Counter()
    for (method, route, edge), count in grown.items():
        if (gate.methods is None or method in gate.methods) and gate.route in {None, route}:
            found[edge] += count
    return dict(found)


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > max(LIMIT * max(one, other), AT_THE_EDGES)


def _apart(what: str, client: float, server: float) -> str:
    return f"{what}: {client:.4g} here, {server:.4g} there"
