"""Queries of boards: that their arithmetic is right. That they ask for what there is, tests/charts looks at."""

import itertools
from collections.abc import Callable, Iterator

import promql_parser
import pytest
from observability.boards.catalogue import boards
from observability.boards.drawing.frame import filled
from tests.charts.observability.queries import asked

from observability.boards import promql

VARIABLES = {"__rate_interval": "1m", "__range": "1h", "namespace": "telemed", "service": ".*"}
GROWING = {"rate", "increase"}
COUNTERS = ("_total", "_bucket", "_count", "_sum")
OF_REQUESTS = ("telemed_http_requests_total", "telemed_http_request_duration_seconds_bucket")
Part = tuple[promql_parser.Expr, tuple[promql_parser.Expr, ...]]  # a piece of a query, and what it stands in


def queries() -> Iterator[tuple[str, str]]:
    """Give every query, as it is in the board, with the name of its place."""
    for board in boards():
        for panel in itertools.chain.from_iterable(row.panels for row in board.rows):
            for target in panel.targets:
                yield f"{board.name}: {panel.title}: {target.legend}", target.query


def parts(expression: promql_parser.Expr, above: tuple[promql_parser.Expr, ...] = ()) -> Iterator[Part]:
    """Go through an expression, from the outside in."""
    yield expression, above
    inner = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for part in (*inner, *(getattr(expression, "args", None) or ())):
        if part is not None:
            yield from parts(part, (*above, expression))


def calls(above: tuple[promql_parser.Expr, ...]) -> set[str]:
    return {part.func.name for part in above if isinstance(part, promql_parser.Call)}


def grows_rightly(part: promql_parser.Expr, above: tuple[promql_parser.Expr, ...]) -> bool:
    """Counters start at zero with every process: only what they grow by means something; gauges do not grow."""
    if not isinstance(part, promql_parser.VectorSelector):
        return True
    return bool(calls(above) & GROWING) == (part.name or "").endswith(COUNTERS)


def sums_what_grew(part: promql_parser.Expr, above: tuple[promql_parser.Expr, ...]) -> bool:
    """The rate before the sum, or a process that starts anew would look like a fall of all."""
    return not isinstance(part, promql_parser.AggregateExpr) or not calls(above) & GROWING


def takes_quantiles_of_sums(part: promql_parser.Expr, above: tuple[promql_parser.Expr, ...]) -> bool:
    """Quantiles of processes can be neither added nor averaged; buckets can."""
    if not isinstance(part, promql_parser.Call) or part.func.name != "histogram_quantile":
        return True
    inner = part.args[1]
    summed = isinstance(inner, promql_parser.AggregateExpr) and str(inner.op) == "sum" and inner.modifier is not None
    return (
        summed and "le" in inner.modifier.labels and not any(isinstance(o, promql_parser.AggregateExpr) for o in above)
    )


def keeps_the_namespace(part: promql_parser.Expr, _: tuple[promql_parser.Expr, ...]) -> bool:
    """Or production would be summed up with staging."""
    if not isinstance(part, promql_parser.AggregateExpr):
        return True
    return part.modifier is not None and "namespace" in part.modifier.labels


def averages_nothing(part: promql_parser.Expr, _: tuple[promql_parser.Expr, ...]) -> bool:
    """An average of shares weighs a quiet night like a busy day."""
    return not isinstance(part, promql_parser.AggregateExpr) or str(part.op) != "avg"


def divides_by_something(part: promql_parser.Expr, _: tuple[promql_parser.Expr, ...]) -> bool:
    """What may be zero is kept out of the denominator, so that there is no data and not NaN."""
    if not isinstance(part, promql_parser.BinaryExpr) or str(part.op) != "/":
        return True
    below = part.rhs.expr if isinstance(part.rhs, promql_parser.ParenExpr) else part.rhs
    above_nothing = isinstance(below, promql_parser.BinaryExpr) and str(below.op) == ">"
    return isinstance(below, promql_parser.NumberLiteral) or above_nothing


RULES: tuple[Callable[[promql_parser.Expr, tuple[promql_parser.Expr, ...]], bool], ...] = (
    grows_rightly,
    sums_what_grew,
    takes_quantiles_of_sums,
    keeps_the_namespace,
    averages_nothing,
    divides_by_something,
)


def broken_rules(query: str) -> set[str]:
    expression = promql_parser.parse(filled(query, VARIABLES))
    return {rule.__name__ for part, above in parts(expression) for rule in RULES if not rule(part, above)}


def test_the_arithmetic_of_every_query_is_right() -> None:
    """By every rule above; the name says where the wrong one is."""
    wrong = {name: broken for name, query in queries() if (broken := broken_rules(query))}
    assert not wrong


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("sum by (namespace) (telemed_http_requests_total)", "grows_rightly"),
        ("rate(telemed_outbox_due_events[1m])", "grows_rightly"),
        ("rate(sum by (namespace) (a_total)[1m:15s])", "sums_what_grew"),
        ("histogram_quantile(0.9, rate(a_bucket[1m]))", "takes_quantiles_of_sums"),
        ("histogram_quantile(0.9, sum by (namespace) (rate(a_bucket[1m])))", "takes_quantiles_of_sums"),
        ("max by (namespace) (histogram_quantile(0.9, sum by (namespace, le) (rate(a_bucket[1m]))))",
         "takes_quantiles_of_sums"),
        ("sum(a)", "keeps_the_namespace"),
        ("avg by (namespace) (a)", "averages_nothing"),
        ("a / b", "divides_by_something"),
    ],
)  # fmt: skip
def test_a_wrong_query_is_told(query: str, rule: str) -> None:
    """Each rule can be broken, and is the only one that speaks."""
    assert broken_rules(query) == {rule}


def test_users_are_told_from_synthetic_patients() -> None:
    """Whatever counts or times requests says whose; refusals and problems are not told apart by it."""
    for name, query in queries():
        if asked(filled(query, VARIABLES)).metrics & set(OF_REQUESTS):
            assert promql.USERS in query, name


def test_a_reader_can_choose_a_service_where_there_is_one() -> None:
    """On the boards that offer it, every query of requests heeds it; on the others none does."""
    offering = {board.name for board in boards() if "service" in board.variables}
    for name, query in queries():
        is_offered = name.partition(":")[0] in offering
        of_requests = bool(asked(filled(query, VARIABLES)).metrics & set(OF_REQUESTS))
        assert ("$service" in query) or not (is_offered and of_requests), name
        assert is_offered or "$service" not in query, name
