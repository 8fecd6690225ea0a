"""The objectives: what each promises, what is kept of it, and how fast its budget burns. Made of observability/slo."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

from observability.boards.links import BOOKING, OVERVIEW
from observability.boards.model import Board, Colour, Kind, Link, Panel, Row, Target, Threshold, Unit
from observability.boards.promql import NAMESPACE

from telemed.slo.catalogue import Kind as SloKind
from telemed.slo.catalogue import Slo
from telemed.slo.windows import PAIRS, Pair, Severity

_MEANING = {Severity.PAGE: Colour.BAD, Severity.TICKET: Colour.NOTICE}
_LEFT = (Threshold(0, Colour.NOTICE), Threshold(0.25, Colour.GOOD))


def board(slos: Sequence[Slo]) -> Board:
    """Make the board of these objectives: a table of all, then a row for each."""
    return Board(
        "slo",
        "Telemed: objectives",
        "What was promised for 30 days, what is kept of it, and how fast what may fail is used up.",
        (Row("All objectives", (_table(slos), _budgets(slos))), *(_row(slo) for slo in slos)),
        variables=("namespace",),
    )


def _table(slos: Sequence[Slo]) -> Panel:
    return Panel(
        "Objectives",
        "Good events by all events, in the window at the head of the column. Budget: what may still fail in 30 days.",
        Unit.RATIO,
        (
            Target(
                _each(slos, lambda slo: f"0 * {_here(slo.total_series('5m'))} + {slo.objective / 100}"),
                "Objective",
                decimals=2,
            ),
            *(Target(_each(slos, partial(_kept, window)), window, decimals=3) for window in ("5m", "1h", "6h", "30d")),
            Target(_each(slos, lambda slo: _here(slo.budget_left_series)), "Budget", decimals=1, thresholds=_LEFT),
        ),
        BOOKING,
        kind=Kind.TABLE,
        base=Colour.BAD,
        width=14,
        height=10,
        labels=("slo",),
    )


def _budgets(slos: Sequence[Slo]) -> Panel:
    return Panel(
        "Budget left",
        "Of 30 days, over the time that is shown. A step down is an outage; below nothing, releases wait.",
        Unit.RATIO,
        tuple(Target(_here(slo.budget_left_series), slo.title) for slo in slos),
        OVERVIEW,
        width=10,
        height=10,
        minimum=-1,
        maximum=1,
    )


def _row(slo: Slo) -> Row:
    runbook = Link(f"Runbook: {slo.title}", slo.runbook_url)
    return Row(
        f"{slo.title}: {slo.objective} % of the {slo.unit}",
        (_left(slo, runbook), _bad(slo, runbook), _burn(slo, runbook)),
    )


def _left(slo: Slo, runbook: Link) -> Panel:
    return Panel(
        "Budget left",
        f"Of what may fail in 30 days. {slo.description}",
        Unit.RATIO,
        (Target(_here(slo.budget_left_series), "budget left"),),
        runbook,
        kind=Kind.NUMBER,
        width=4,
        thresholds=_LEFT,
        base=Colour.BAD,
        decimals=1,
    )


def _bad(slo: Slo, runbook: Link) -> Panel:
    return Panel(
        f"Share that {_fault(slo)}",
        f"Bad: {slo.bad} The line is what the objective allows.",
        Unit.RATIO,
        tuple(Target(_here(slo.ratio_series(window)), window) for window in ("5m", "1h", "30d")),
        runbook,
        width=10,
        thresholds=(Threshold(float(slo.budget), Colour.BAD),),
        decimals=3,
    )


def _burn(slo: Slo, runbook: Link) -> Panel:
    pairs = (*PAIRS, *slo.guards)
    return Panel(
        "Burn rate",
        f"How many times faster than allowed the budget is used up, by window. {_told(pairs)}",
        Unit.NUMBER,
        tuple(
            Target(f"{_here(slo.ratio_series(window))} / {_plain(slo.budget)}", window)
            for window in dict.fromkeys(pair.long for pair in pairs)
        ),
        runbook,
        width=10,
        thresholds=_limits(pairs),
    )


def _limits(pairs: Sequence[Pair]) -> tuple[Threshold, ...]:
    """Draw each factor once; where a page and a ticket share one, the page's colour."""
    found: dict[Decimal, Severity] = {}
    for pair in pairs:
        if pair.severity is Severity.PAGE or pair.factor not in found:
            found[pair.factor] = pair.severity
    return tuple(Threshold(float(factor), _MEANING[found[factor]]) for factor in sorted(found))


def _told(pairs: Sequence[Pair]) -> str:
    """Say in words which line belongs to which alert."""
    by_severity = {
        severity: ", ".join(f"{_plain(pair.factor)} over {pair.long}" for pair in pairs if pair.severity is severity)
        for severity in Severity
    }
    return f"Pages: above {by_severity[Severity.PAGE]}. Tickets: above {by_severity[Severity.TICKET]}."


def _fault(slo: Slo) -> str:
    if slo.kind is SloKind.LATENCY:
        return f"took longer than {_plain(slo.threshold_seconds or Decimal(0))} s"
    return "was late" if slo.kind is SloKind.FRESHNESS else "failed"


def _each(slos: Sequence[Slo], query: Callable[[Slo], str]) -> str:
    """Ask the same of every objective, whose numbers differ in the query."""
    return " or ".join(query(slo) for slo in slos)


def _kept(window: str, slo: Slo) -> str:
    return f"1 - {_here(slo.ratio_series(window))}"


def _here(recorded: str) -> str:
    """Pick a recorded series of the chosen namespace."""
    return f"{recorded.removesuffix('}')}, {NAMESPACE}}}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
