"""Panels that several boards have."""

from observability.boards.model import Colour, Kind, Link, Panel, Target, Threshold, Unit

from observability.boards import links, promql


def number(
    title: str,
    description: str,
    unit: Unit,
    query: str,
    link: Link,
    *,
    thresholds: tuple[Threshold, ...] = (),
    base: Colour = Colour.GOOD,
    decimals: int | None = None,
) -> Panel:
    """Make one big number; six of them fill a line."""
    return Panel(
        title,
        description,
        unit,
        (Target(query, title),),
        link,
        kind=Kind.NUMBER,
        width=4,
        height=4,
        thresholds=thresholds,
        base=base,
        decimals=decimals,
    )


INVARIANTS = Panel(
    "Invariants",
    "Rows that must not exist, as the worker's queries find them, and how long ago they looked. Anything but 0 is a"
    " page or a ticket.",
    Unit.NUMBER,
    (
        Target(
            promql.highest("telemed_invariant_violations", by=("invariant",)),
            "Violations",
            thresholds=(Threshold(1, Colour.BAD),),
        ),
        Target(
            promql.age("telemed_invariant_checked_timestamp_seconds", by=("invariant",)),
            "Looked ago",
            unit=Unit.SECONDS,
            decimals=0,
            thresholds=(Threshold(1800, Colour.BAD),),
        ),
    ),
    links.runbook("invariant-broken"),
    kind=Kind.TABLE,
    labels=("invariant",),
)
