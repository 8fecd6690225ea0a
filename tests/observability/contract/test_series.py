"""The contract between those who show metrics and those who ask for them."""

import math
import re
import sys
from collections import defaultdict
from pathlib import Path

import promql_parser
import pytest
from tests.charts.observability.queries import OTHERS
from tests.observability.contract.exposition import NAME, Series, exemplars_in, kinds_in, missing, selectors_in
from tests.observability.contract.gathering import Gathered
from tests.observability.contract.questions import derived_series, questions, unconditional

PAGE = Path(__file__).parents[3] / "observability" / "metrics.md"
# Shown by others than the processes of the platform: why they are not here. Their names and labels are held against the
# list of `tests/charts/observability`.
ELSEWHERE = {
    "probe_": "the blackbox exporter, which looks at addresses of a cluster",
    "telemed_probe_": "`telemed probe`, which runs beside the platform and has tests of its own",
    "kube_": "kube-state-metrics, which knows limits of pods",
    "cnpg_": "CloudNativePG's exporter in the poolers",
}
# Prometheus' own, of every target it has; a label `probe` only targets of the blackbox exporter have.
OF_TARGETS = ("up", "scrape_samples_scraped", "scrape_duration_seconds")
# The client library's, of a process; only Linux tells it. Not in the page's table, as Prometheus defines them.
OF_PROCESS = "process_"


def is_elsewhere(selector: promql_parser.VectorSelector) -> bool:
    asked = {matcher.name for matcher in selector.matchers.matchers}
    name = selector.name or ""
    if name.startswith(OF_PROCESS):
        return sys.platform != "linux"
    return name.startswith(tuple(ELSEWHERE)) or (name in OF_TARGETS and "probe" in asked)


@pytest.fixture(scope="module")
def shown(gathered: Gathered) -> dict[str, list[Series]]:
    """Every series by its name: the processes', Prometheus' own, and what the rules make."""
    found = defaultdict(list)
    targets = [
        Series(name, {"namespace": "local", "pod": one, "job": "telemed"}) for name in OF_TARGETS for one in "ab"
    ]
    for series in (*gathered.series, *derived_series(), *targets):
        found[series.name].append(series)
    return found


def test_every_selector_picks_something(shown: dict[str, list[Series]]) -> None:
    """Of every rule, board and runbook: metric, labels, and every value that is asked for or left out."""
    wrong = defaultdict(set)
    for question in questions():
        for selector in selectors_in(question.query):
            if not is_elsewhere(selector):
                for complaint in missing(selector, shown.get(selector.name or "", ())):
                    wrong[complaint].add(question.where)
    assert not wrong, dict(wrong)


def test_every_question_is_answered(gathered: Gathered) -> None:
    """By a real Prometheus, on the run of the test; what asks whether something is wrong, without the condition."""
    if gathered.asked is None:
        pytest.skip("prometheus is not installed: make observe-deps")
    silent = [
        question.where
        for question in questions()
        if not question.is_alert
        and not gathered.asked[question.query]
        and not any(is_elsewhere(selector) for selector in selectors_in(question.query))
    ]
    assert not silent
    assert all(gathered.asked[question.query] is not None for question in questions()), "refused"


def test_a_panel_never_draws_what_is_no_number(gathered: Gathered) -> None:
    """NaN is drawn as a gap, or as the last number; a panel says "no data" instead."""
    if gathered.asked is None:
        pytest.skip("prometheus is not installed: make observe-deps")
    boards = [question for question in questions() if question.where.startswith("board")]
    assert len(boards) > 50
    assert not [one.where for one in boards if any(math.isnan(value) for value in gathered.asked[one.query] or [])]


def test_buckets_have_traces_as_examples(gathered: Gathered) -> None:
    """From a point of the graph to a request that lies there; Prometheus keeps them."""
    labels = [one for text in gathered.openmetrics.values() for one in exemplars_in(text)]
    assert labels
    assert all(set(one) == {"trace_id"} for one in labels)
    assert {one["trace_id"] for one in labels} <= {span.trace_id for span in gathered.spans}
    assert gathered.asked is None or gathered.exemplars > 0


def page() -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE))


def test_the_page_lists_what_is_shown(gathered: Gathered) -> None:
    """Every metric that a process shows, with its type, and none that no process shows."""
    kinds = {name: kind for text in gathered.plain.values() for name, kind in kinds_in(text).items()}
    listed = {name: kind for name, kind in page().items() if not name.startswith(tuple(ELSEWHERE))}
    assert {name: kind for name, kind in kinds.items() if not name.startswith(OF_PROCESS)} == listed


def test_every_metric_is_asked_for() -> None:
    """By a rule, a board or a runbook; one that nobody asks for costs memory everywhere, and helps nobody."""
    asked = {selector.name for question in questions() for selector in selectors_in(question.query)}
    parts = ("", "_bucket", "_count", "_sum")
    idle = [name for name in page() if not asked & {name + part for part in parts}]
    assert not idle


def test_who_shows_what_is_not_here_is_known() -> None:
    """The list of others has no name that nobody asks for, and all that are asked for."""
    asked = {
        selector.name or ""
        for question in questions()
        for selector in selectors_in(question.query)
        if is_elsewhere(selector)
    }
    assert asked <= OTHERS.keys()
    for prefix in ("probe_", "telemed_probe_"):
        assert any(name.startswith(prefix) for name in asked)


A = [Series("a_total", {"outcome": "good", "le": "0.2"}), Series("a_total", {"outcome": "bad"})]


@pytest.mark.parametrize(
    ("query", "is_missing"),
    [
        ('a_total{outcome="good"}', False),
        ('sum(rate(a_total{outcome=~"good|bad"}[5m])) > 0', False),
        ("b_total", True),
        ('a_total{outcome="godo"}', True),
        ('a_total{outcome=~"good|abd"}', True),
        ('a_total{outcome!="baad"}', True),
        ('a_total{outcome!~"bad|godo"}', True),
        ('a_total{result="good"}', True),
        ('a_total{le="0.3"}', True),
        ('a_total{outcome="bad", le="0.2"}', True),
        ('a_total{outcome!="good", le!=""}', True),
        ('a_total{outcome!=""}', False),
    ],
)
def test_what_is_misspelt_is_missed(query: str, is_missing: bool) -> None:
    """A metric, a label, a value, one of several, one that is left out, or all of them together."""
    (selector,) = selectors_in(query)
    assert bool(missing(selector, A)) is is_missing
    assert A[0].label(NAME) == "a_total"


@pytest.mark.parametrize(
    ("query", "left"), [("x > 0", "x{}"), ("x unless on (a) y", "x{}"), ("x and y > 0", "x{}"), ("x / y", "x{} / y{}")]
)
def test_a_condition_is_taken_away(query: str, left: str) -> None:
    """What remains must have an answer also when all is well."""
    assert unconditional(query).replace("\n", " ") == promql_parser.parse(left).prettify().replace("\n", " ")
