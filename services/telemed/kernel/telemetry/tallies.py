"""Counters and histograms for what every request counts: plain numbers, rendered when Prometheus asks.

The library's own take a lock for each number, which is right where threads count. These belong to the event loop and
must not be touched from anywhere else; that makes them three to five times cheaper, and on the shortest way to an
answer counting was a tenth of the whole. Names, labels and exemplars are as the library has them.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

S = TypeVar("S")
_Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Tally:
    """One series that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Count."""
        self.value += by


class Timing:
    """One series of durations."""

    __slots__ = ("_edges", "buckets", "examples", "seconds")

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self.buckets = [0] * (len(edges) + 1)  # each for itself; the last one is beyond all edges
        # Of each bucket that has one: the trace of the latest request in it that is kept, its seconds, and when it was.
        self.examples: dict[int, tuple[str, float, float]] = {}
        self.seconds = 0.0

    def observe(self, seconds: float, trace_id: str | None = None) -> None:
        """Count a duration; *trace_id*, of a trace that is kept, is shown with its bucket until there is another."""
        bucket = bisect_left(self._edges, seconds)  # an edge belongs to the bucket below it
        self.buckets[bucket] += 1
        self.seconds += seconds
        if trace_id is not None:
            self.examples[bucket] = trace_id, seconds, time.time()


class _Family(Collector, Generic[S]):
    """One metric: its series, by the values of their labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        new_series: Callable[[], S],
        registry: CollectorRegistry,
    ) -> None:
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._new_series = new_series
        self._series: dict[tuple[str, ...], S] = {}
        registry.register(self)

    def labels(self, *values: str) -> S:
        """Give the series of these labels, at zero if it is new."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self.label_names) or not all(isinstance(value, str) for value in values):
                raise ValueError(f"{self.name} has the labels {self.label_names}, and their values are strings")
            series = self._series[values] = self._new_series()
        return series


class Tallies(_Family[Tally]):
    """A counter with labels; *name* ends with `_total`."""

    kind = "counter"

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        super().__init__(name, documentation, labels, Tally, registry)

    def collect(self) -> Iterable[Metric]:
        """Give what was counted so far."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, series in self._series.items():
            family.add_metric(values, series.value)
        return [family]


class Timings(_Family[Timing]):
    """A histogram of seconds with labels."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        super().__init__(name, documentation, labels, partial(Timing, tuple(buckets)), registry)
        self._names = [_go_string(edge) for edge in (*buckets, float("inf"))]

    def collect(self) -> Iterable[Metric]:
        """Give what was observed so far."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self.label_names)
        for values, series in self._series.items():
            family.add_metric(values, self._cumulative(series), series.seconds)
        return [family]

    def _cumulative(self, series: Timing) -> list[_Bucket]:
        buckets: list[_Bucket] = []
        below = 0
        for number, (edge, count) in enumerate(zip(self._names, series.buckets, strict=True)):
            below += count
            example = series.examples.get(number)
            if example is None:
                buckets.append((edge, below))
            else:
                trace_id, seconds, at = example
                buckets.append((edge, below, Exemplar({"trace_id": trace_id}, seconds, at)))
        return buckets


def _go_string(edge: float) -> str:
    name: str = floatToGoString(edge)  # type: ignore[no-untyped-call]  # the library has no types here
    return name
