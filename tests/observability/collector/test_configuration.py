"""The collector's configuration hangs together, in the order that each component needs, and agrees with the code."""

import math
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from tests.observability.collector.configuration import (
    CONFIG,
    FRONT,
    KINDS,
    WITHOUT_KUBERNETES,
    Document,
    documented,
    keys,
    pipelines,
    read,
    used,
    variables,
    way,
)

from telemed.kernel.settings import Settings
from telemed.kernel.telemetry.export import _ALLOWED_OF_EVENTS, ALLOWED_ATTRIBUTES
from telemed.kernel.telemetry.metrics import LATENCY_BUCKETS

ADDRESSES = {"TRACES_ENDPOINT": "traces:4317", "GATEWAYS": "gateways"}
SHAPES = {
    "gateway": (CONFIG,),
    "gateway without Kubernetes": (CONFIG, WITHOUT_KUBERNETES),
    "front": (FRONT,),
}
# Names that the Collector gave up in 2026; it still takes them, and warns with every start.
# Source: open-telemetry/opentelemetry-collector #14396, opentelemetry-collector-contrib #45339.
FORMER = {"otlphttp", "k8sattributes", "spanmetrics", "loadbalancing", "prometheusremotewrite"}

# Settings that are gone: an unknown one ends the start.
# Source: opentelemetry-collector-contrib #50539 (0.160).
GONE = {"deployment_name_from_replicaset"}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Document:
    """Each configuration that a collector may be started with."""
    return read(*SHAPES[request.param], **ADDRESSES)


@pytest.fixture
def gateway() -> Document:
    """The whole of it, in a cluster."""
    return read(CONFIG, **ADDRESSES)


def test_what_is_used_is_configured_and_what_is_configured_is_used(shape: Document) -> None:
    """A name without a configuration ends the start; a configuration without a use protects nobody."""
    for kind in (*KINDS, "extensions"):
        configured = set(shape.get(kind, {}))
        unused = {"k8s_attributes"} if "k8s_attributes" not in used(shape)["processors"] else set()
        assert configured - unused == used(shape)[kind], kind


def test_the_names_are_those_of_today(shape: Document) -> None:
    """Of components: a former name is a warning now and an error later."""
    names = {name.partition("/")[0] for kind in KINDS for name in shape.get(kind, {})}
    assert not names & FORMER
    assert "otlp" not in shape["exporters"]  # otlp_grpc; the receiver keeps its name


def test_no_setting_is_one_that_is_gone(shape: Document) -> None:
    """The Collector refuses to start with a key that it does not know."""
    assert not GONE & set(keys(shape))


def test_every_way_begins_with_the_bound_on_memory(shape: Document) -> None:
    """What does not fit is refused before anything is done with it, while the sender still has it."""
    for pipeline in pipelines(shape).values():
        if "otlp" in pipeline["receivers"]:
            assert pipeline["processors"][0] == "memory_limiter"
    limiter = shape["processors"]["memory_limiter"]
    assert limiter["limit_percentage"] - limiter["spike_limit_percentage"] > 50


def test_the_order_is_the_one_that_each_part_needs(gateway: Document) -> None:
    """A pod is known by its connection; nothing remembers or counts what was not redacted; batches come last."""
    passed = way(gateway, "otlp")
    wanted = ["memory_limiter", "k8s_attributes", "redaction", "transform/silence", "tail_sampling", "otlp_grpc"]
    assert [name for name in passed if name in wanted] == wanted
    assert passed.index("redaction") < passed.index("span_metrics") < passed.index("tail_sampling")
    assert not any(name.startswith("batch") for name in passed)
    assert gateway["exporters"]["otlp_grpc"]["sending_queue"]["batch"]["min_size"] > 0


def test_metrics_of_spans_are_made_before_traces_are_chosen(gateway: Document) -> None:
    """Behind the choice they would say that every tenth request fails."""
    (metrics_from,) = [name for name, one in pipelines(gateway).items() if "span_metrics" in one["exporters"]]
    assert "tail_sampling" not in pipelines(gateway)[metrics_from]["processors"]
    assert all("tail_sampling" not in way(gateway, name) for name in ("span_metrics",))


def test_only_what_the_code_allows_is_allowed(gateway: Document) -> None:
    """The same list as in the processes, and what describes a process; nothing more, and nothing twice."""
    given = gateway["processors"]["redaction"]["allowed_keys"]
    of_pods = set(gateway["processors"]["k8s_attributes"]["extract"]["metadata"])
    of_resources = {"service.name", "service.namespace", "service.version", "service.instance.id"}
    of_sdk = {name for name in Resource.create({}).attributes if name.startswith("telemetry.sdk.")}
    assert len(given) == len(set(given))
    assert set(given) == ALLOWED_ATTRIBUTES | _ALLOWED_OF_EVENTS | of_pods | of_resources | of_sdk
    assert gateway["processors"]["redaction"]["allow_all_keys"] is False
    assert gateway["processors"]["redaction"]["summary"] == "silent"


def test_metrics_have_labels_that_stay(gateway: Document) -> None:
    """Of what they are told apart by, nothing is taken away before them."""
    allowed = set(gateway["processors"]["redaction"]["allowed_keys"])
    connector = gateway["connectors"]["span_metrics"]
    assert {dimension["name"] for dimension in connector["dimensions"]} <= allowed
    assert set(connector["resource_metrics_key_attributes"]) <= allowed
    assert connector["aggregation_cardinality_limit"] > 0


def test_slow_means_what_it_means_elsewhere(gateway: Document) -> None:
    """The processes keep what is slower than TRACE_SLOW_SECONDS, and the buckets are the metrics' own."""
    policies = {policy["name"]: policy for policy in gateway["processors"]["tail_sampling"]["policies"]}
    slow = Settings.model_fields["trace_slow_seconds"].default
    assert policies["slow"]["latency"]["threshold_ms"] == slow * 1000
    assert policies["failed"]["status_code"]["status_codes"] == ["ERROR"]
    buckets = gateway["connectors"]["span_metrics"]["histogram"]["explicit"]["buckets"]
    assert all(
        math.isclose(_seconds(text).total_seconds(), edge) for text, edge in zip(buckets, LATENCY_BUCKETS, strict=True)
    )


@pytest.mark.parametrize(("given", "percentage"), [({}, 100), ({"KEEP_PERCENTAGE": "25"}, 25)])
def test_of_the_rest_a_part_is_kept(given: dict[str, str], percentage: float) -> None:
    """All of it unless told otherwise: exemplars and log lines lead to traces that the processes chose."""
    policies = read(CONFIG, **ADDRESSES, **given)["processors"]["tail_sampling"]["policies"]
    (rest,) = [policy for policy in policies if policy["type"] == "probabilistic"]
    assert rest["probabilistic"]["sampling_percentage"] == percentage


def test_waiting_for_a_trace_is_bounded(gateway: Document) -> None:
    """In time, number and size; what was decided is remembered longer than the trace."""
    sampling = gateway["processors"]["tail_sampling"]
    assert 0 < sampling["num_traces"] <= 10_000
    assert (
        sampling["num_traces"] > sampling["expected_new_traces_per_sec"] * _seconds(sampling["decision_wait"]).seconds
    )
    assert 0 < sampling["maximum_trace_size_bytes"] <= 1024 * 1024
    assert all(size >= 10 * sampling["num_traces"] for size in sampling["decision_cache"].values())


def test_a_front_sends_a_trace_to_one_gateway() -> None:
    """By its id; the gateways behind it ask for no pods, as the connection is the front's."""
    front = read(FRONT, **ADDRESSES)
    assert front["exporters"]["load_balancing"]["routing_key"] == "traceID"
    assert front["processors"]["k8s_attributes"] == read(CONFIG)["processors"]["k8s_attributes"]
    assert "tail_sampling" not in front["processors"]
    behind = read(CONFIG, WITHOUT_KUBERNETES, **ADDRESSES)
    assert [name for name in way(behind, "otlp") if name != "k8s_attributes"] == way(behind, "otlp")
    assert set(way(read(CONFIG), "otlp")) - set(way(behind, "otlp")) == {"k8s_attributes"}


@pytest.mark.parametrize("file", [CONFIG, FRONT], ids=lambda file: str(file.name))
def test_the_head_explains_the_environment(file: Path) -> None:
    """Every variable that is asked for, and no other."""
    assert variables(file) == documented(file)


def test_it_can_be_watched(shape: Document) -> None:
    """Its health, its own metrics, and its log as JSON."""
    assert shape["extensions"]["health_check"]["endpoint"] == "0.0.0.0:13133"
    (reader,) = shape["service"]["telemetry"]["metrics"]["readers"]
    assert reader["pull"]["exporter"]["prometheus"]["port"] == 8888
    assert shape["service"]["telemetry"]["logs"]["encoding"] == "json"


def _seconds(text: str) -> timedelta:
    if text.endswith("ms"):
        return timedelta(milliseconds=float(text[:-2]))
    return timedelta(seconds=float(text[:-1]))
