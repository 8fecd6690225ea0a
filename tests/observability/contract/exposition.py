"""What processes show at /metrics, as series; and which of them a query's selector picks."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import promql_parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as plain_families
from tests.charts.observability.queries import _parts as parts_of

NAME = "__name__"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_MAY_MISS = ("MatchOp.NotEqual", "MatchOp.NotRe")


@dataclass(frozen=True)
class Series:
    """One time series: its name and its labels."""

    name: str
    labels: Mapping[str, str]

    def label(self, name: str) -> str:
        """Give a label's value; a label that is not there is empty, as for Prometheus."""
        return self.name if name == NAME else self.labels.get(name, "")


def series_in(text: str, target: Mapping[str, str]) -> list[Series]:
    """Read an exposition in the plain format as Prometheus would from this *target*: its labels yield to ours."""
    families = plain_families(text)
    return [Series(sample.name, {**target, **sample.labels}) for family in families for sample in family.samples]


def exemplars_in(text: str) -> list[Mapping[str, str]]:
    """Give the labels of every exemplar of an exposition in the OpenMetrics format."""
    families = openmetrics_families(text)  # type: ignore[no-untyped-call]  # the library has no types here
    return [sample.exemplar.labels for family in families for sample in family.samples if sample.exemplar is not None]


def kinds_in(text: str) -> dict[str, str]:
    """Give each family's name as it is exposed, with its type."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in plain_families(text)
    }


def selectors_in(query: str) -> Iterator["promql_parser.VectorSelector"]:
    """Walk over the selectors of a query.

    Raises:
        ValueError: it is none.
    """
    for part in parts_of(promql_parser.parse(query)):
        if isinstance(part, promql_parser.VectorSelector):
            yield part


def missing(selector: "promql_parser.VectorSelector", series: Iterable[Series]) -> list[str]:
    """Say what of the selector picks nothing: the metric, a matcher, one alternative of it, or all together.

    Every alternative of a regular expression must be there, also of those that are left out: one that is misspelt
    changes nothing that anybody would see.
    """
    named = [one for one in series if one.name == selector.name]
    if not named:
        return [f"{selector.name}: nobody shows it"]
    found = [
        f"{selector.name}: no series has {matcher.name} {wanted!r}"
        for matcher in selector.matchers.matchers
        for wanted in _alternatives(matcher)
        if not any(re.fullmatch(wanted, one.label(matcher.name)) for one in named)
    ]
    if not found and not any(_picks(selector, one) for one in named):
        found = [f"{selector.name}: no series fits {selector.prettify()}"]
    return found


def _alternatives(matcher: "promql_parser.Matcher") -> list[str]:
    """Give what a matcher asks for, as regular expressions; parts of a choice one by one."""
    if str(matcher.op) in {"MatchOp.Equal", "MatchOp.NotEqual"}:
        # `x!=""` asks that the label be there.
        return [re.escape(matcher.value)] if matcher.value else [".+"]
    # No expression of ours has a choice within brackets.
    return matcher.value.split("|") if "(" not in matcher.value else [matcher.value]


def _picks(selector: "promql_parser.VectorSelector", series: Series) -> bool:
    return all(
        _fits(matcher, series.label(matcher.name)) is not (str(matcher.op) in _MAY_MISS)
        for matcher in selector.matchers.matchers
    )


def _fits(matcher: "promql_parser.Matcher", value: str) -> bool:
    pattern = re.escape(matcher.value) if str(matcher.op) in {"MatchOp.Equal", "MatchOp.NotEqual"} else matcher.value
    return re.fullmatch(pattern, value) is not None
