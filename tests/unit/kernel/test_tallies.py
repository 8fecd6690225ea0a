"""Our counters and histograms say what the library's would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from telemed.kernel.telemetry.metrics import LATENCY_BUCKETS
from telemed.kernel.telemetry.tallies import Tallies, Timings

ENCODE, _ = choose_encoder("application/openmetrics-text")
LABELS = ["route", "status"]
SERIES = st.sampled_from([("/a", "200"), ("/a", "500"), ('/"quoted"\n', "200")])
SECONDS = st.one_of(st.sampled_from(LATENCY_BUCKETS), st.floats(0, 100), st.just(0.0))


@given(st.lists(st.tuples(SERIES, SECONDS)))
def test_what_prometheus_reads_is_the_same(observed: list[tuple[tuple[str, str], float]]) -> None:
    """Also at the very edge of a bucket, and beyond the last one."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    count, time = Tallies("a_total", "A.", LABELS, ours), Timings("b_seconds", "B.", LABELS, LATENCY_BUCKETS, ours)
    counter = Counter("a_total", "A.", LABELS, registry=theirs)
    histogram = Histogram("b_seconds", "B.", LABELS, buckets=LATENCY_BUCKETS, registry=theirs)
    for labels, seconds in observed:
        count.labels(*labels).inc()
        counter.labels(*labels).inc()
        time.labels(*labels).observe(seconds)
        histogram.labels(*labels).observe(seconds)
    assert shown(ours) == shown(theirs)


def test_an_example_stands_with_its_bucket() -> None:
    """The newest one, with its value; buckets without one have none."""
    registry = CollectorRegistry()
    timing = Timings("b_seconds", "B.", ["route"], (0.1, 1.0), registry).labels("/a")
    timing.observe(0.05, "first")
    timing.observe(0.06, "second")
    timing.observe(0.5)
    timing.observe(9, "beyond")
    text = ENCODE(registry).decode()
    lines = {line.partition("#")[0].strip(): line.partition("#")[2] for line in text.splitlines() if "_bucket" in line}
    assert lines.keys() == {
        'b_seconds_bucket{le="0.1",route="/a"} 2.0',
        'b_seconds_bucket{le="1.0",route="/a"} 3.0',
        'b_seconds_bucket{le="+Inf",route="/a"} 4.0',
    }
    assert '{trace_id="second"} 0.06 ' in lines['b_seconds_bucket{le="0.1",route="/a"} 2.0']
    assert lines['b_seconds_bucket{le="1.0",route="/a"} 3.0'] == ""
    assert '{trace_id="beyond"} 9' in lines['b_seconds_bucket{le="+Inf",route="/a"} 4.0']


@pytest.mark.parametrize("values", [(), ("/a",), ("/a", "200", "x"), ("/a", 200)])
def test_labels_of_a_wrong_number_or_type_are_a_mistake(values: tuple[str, ...]) -> None:
    """They would make a series that no query finds."""
    registry = CollectorRegistry()
    for family in (Tallies("a_total", "A.", LABELS, registry), Timings("b_seconds", "B.", LABELS, (1.0,), registry)):
        with pytest.raises(ValueError, match="has the labels"):
            family.labels(*values)


def shown(registry: CollectorRegistry) -> dict[str, object]:
    text = ENCODE(registry).decode().replace("# EOF\n", "")
    return {
        str((sample.name, sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
