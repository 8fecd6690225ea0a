"""The objectives as people read them: the table of the README, and docs/slo.md."""

from collections.abc import Iterator
from decimal import Decimal

from telemed.slo.catalogue import Slo
from telemed.slo.windows import PAIRS, PERIOD, Pair, Severity, decimal_text, seconds_until
from telemed.slo.written import GENERATED

_OUTAGES = (Decimal("0.01"), Decimal("0.05"), Decimal("0.2"), Decimal(1))
_INTRODUCTION = f"""\
<!-- {GENERATED} -->
# Service level objectives

What the platform promises its users, what counts, and who is told when a promise is about to be broken. All of it is
compiled from `observability/slo` by `telemed slo build`: rules, their tests, load gates, this page and the table in the
README. [Decision 0022](decisions/0022-slo-compiler.md) says why it is compiled like that.

An objective is a share of good events in 30 days. The budget is the rest: the bad events that are allowed. How fast it
burns is the ratio of bad events over the budget; at 1 it lasts for exactly 30 days.
"""
_ALERTING = """\
## When somebody is told

The ratio of bad events must be above the threshold in the long window, so that enough has burnt, and in the short one,
so that it still burns. Each needs a number of bad events as well: what chance brings together less than once in ten
thousand windows while the objective is just kept. One failed request of three at night is a third, and nobody's alarm.

A long window that is mostly empty, after an installation, holds little but what has just happened. Each pair therefore
counts once there is something older than the long window of the pair above it, which has spoken until then: the pair of
six hours after an hour, that of a day after six hours, that of three days after a day.

One fault burns several budgets and calls once. An objective that is a part of another calls by itself while the rest of
it does not burn; when the rest burns as well, the whole calls for both.
"""
_REACTION = """\
## How soon

Computed: the time until the ratio in the long window is above the threshold, when nothing was bad before and traffic is
steady. A scrape and an evaluation come on top, 15 s each at most. With little traffic it also takes the bad events
above. What does not page may still be a ticket; "never" is also what an outage within the objective deserves.

An alert ends when its short window is below the threshold: five minutes after what burnt fast, half an hour after what
burnt steadily. What burnt fast is not called steady as well, until half an hour has passed since.
"""
_RECORDED = """\
## Series to ask for

All have the labels `namespace` and `slo`. Windows of a day and longer are up to ten minutes behind.

| series | holds |
|---|---|
| `telemed:slo_error:ratio_rate5m` | ratio of bad events in the window, weighted by events; none without traffic |
| `…10m`, `…30m`, `…1h`, `…2h`, `…6h`, `…1d`, `…3d`, `…30d` | the same |
| `telemed:slo_bad:rate5m`, `telemed:slo_total:rate5m` | events a second: bad ones, and all that count |
| `…10m`, `…30m`, `…1h` | the same |
| `telemed:slo_bad:increase6h`, `…1d`, `…3d` | number of bad events in the window |
| `telemed:slo_budget_left:ratio_30d` | what is left of the budget: 1 is all of it, below 0 it is overdrawn |
"""


def table(slos: list[Slo]) -> str:
    """Write the README's table."""
    lines = ["| objective | promise over 30 days | bad is | allowed |", "|---|---|---|---|"]
    lines += [
        f"| [{slo.title}](docs/slo.md#{slo.name}) | {decimal_text(slo.objective)} % of {slo.unit} "
        f"| {slo.bad.removesuffix('.')} | {_allowed(slo)} |"
        for slo in slos
    ]
    return "\n".join(lines) + "\n"


def page(slos: list[Slo]) -> str:
    """Write docs/slo.md."""
    parts = [_INTRODUCTION, *(_section(slo) for slo in slos), _ALERTING, _thresholds(slos), _REACTION, _reactions(slos)]
    return "\n".join([*parts, _RECORDED])


def _section(slo: Slo) -> str:
    lines = [
        f"## {slo.name}",
        "",
        f"**{slo.title}: {decimal_text(slo.objective)} % over 30 days.** {slo.description}",
        "",
        f"- Good: {slo.good}",
        f"- Bad: {slo.bad}",
        *(f"- Excluded: {exclusion.what} {exclusion.why}" for exclusion in slo.excluded),
        f"- Allowed: {_allowed(slo)}.",
        *([f"- Part of: [{slo.part_of}](#{slo.part_of})."] if slo.part_of else []),
        "",
        f"Why: {slo.why}",
    ]
    return "\n".join(lines) + "\n"


def _allowed(slo: Slo) -> str:
    outage = PERIOD * float(slo.budget)
    return f"{decimal_text(100 * slo.budget)} %: {_duration(round(outage.total_seconds()))} of nothing but bad"


def _thresholds(slos: list[Slo]) -> str:
    budgets = sorted({slo.budget for slo in slos})
    heads = " | ".join(f"threshold at {decimal_text(100 - 100 * budget)} %" for budget in budgets)
    lines = [
        f"| alert | severity | windows | factor | {heads} | bad events |",
        "|---" * (5 + len(budgets)) + "|",
    ]
    for pair in PAIRS:
        values = " | ".join(decimal_text(pair.threshold(budget)) for budget in budgets)
        lines.append(_row(pair, values))
    for slo in [slo for slo in slos if slo.guards][:1]:
        for pair in slo.guards:
            values = " | ".join(
                decimal_text(pair.threshold(budget)) if budget == slo.budget else "" for budget in budgets
            )
            lines.append(_row(pair, values))
    lines += [
        "",
        "`Telemed…Absent` pages when there is nothing to compute a ratio of for five minutes, although services",
    ]
    lines += ["are there, or something was measured within the hour, or nothing is anywhere.", ""]
    return "\n".join(lines)


def _row(pair: Pair, values: str) -> str:
    windows = f"{pair.long} and {pair.short}"
    factor = decimal_text(pair.factor)
    return f"| `Telemed…{pair.alert}` | {pair.severity.value} | {windows} | {factor} | {values} | {pair.least_bad} |"


def _reactions(slos: list[Slo]) -> str:
    outages = " | ".join(f"{100 * ratio:.0f} % bad" for ratio in _OUTAGES)
    lines = [f"| objective | {outages} |", "|---" * (1 + len(_OUTAGES)) + "|"]
    for slo in slos:
        times = " | ".join(_duration(_page_after(slo, ratio)) for ratio in _OUTAGES)
        lines.append(f"| {slo.title} | {times} |")
    return "\n".join(lines) + "\n"


def _page_after(slo: Slo, ratio: Decimal) -> int | None:
    pairs = [pair for pair in (*PAIRS, *slo.guards) if pair.severity is Severity.PAGE]
    times = [seconds_until(pair, slo.budget, ratio) for pair in pairs]
    return min((time for time in times if time is not None), default=None)


def _duration(seconds: int | None) -> str:
    return "never" if seconds is None else " ".join(_units(seconds))


def _units(seconds: int) -> Iterator[str]:
    """Write the two largest units."""
    if seconds >= 86_400:
        yield f"{seconds / 3600:.1f} h".replace(".0 h", " h")
        return
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    yield from [f"{amount} {unit}" for amount, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if amount][:2]
