"""The rules of Prometheus for one objective: what is recorded, and when somebody is told."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from telemed.slo.catalogue import WINDOW, Kind, Slo
from telemed.slo.windows import DIRECT, PAIRS, SECONDS, WEIGHTED, Pair, Severity, decimal_text

RUNBOOKS = "https://github.com/telemed/telemed/blob/main/observability/runbooks/"
DASHBOARD = "/d/telemed-slo?var-namespace={{ $labels.namespace }}"
# As often as pods are scraped: a page must not wait for the next evaluation. What looks at days may take its time.
_SHORT, _LONG, _PERIOD = "15s", "1m", "5m"
# Windows of days look at the record of ten minutes every ten minutes: the looks lie side by side and miss no event, and
# 30 days are 4,320 of them, not 172,800. What they say is up to ten minutes old; promtool refuses closer looks.
_LOOKS = {"1d": "10m", "3d": "10m", "30d": "10m"}
# The long windows of pairs that are longer than those taken from the counters: their bad events are counted so, as an
# average times the window would invent some where nothing was measured yet.
_COUNTED = {"6h": "5m", "1d": "10m", "3d": "10m"}
# A scrape or two may fail, and the records themselves outlive their source by five minutes.
_ABSENT_FOR = "5m"
# What calls for an outage that burns fast, and for one that does not.
_FAST, _STEADILY = "BurnsFast", "BurnsSteadily"
# The page of a whole holds back others, for which an outage ends later: an outbox takes a while to be empty, and a part
# that was worse than the rest remembers its last seconds for longer.
KEPT_FOR = "3m"

Rule = dict[str, Any]  # as Prometheus reads it


@dataclass(frozen=True, slots=True)
class Family:
    """The objective that counts the same events among others, and those that count some of them."""

    whole: Slo | None = None
    parts: tuple[Slo, ...] = ()


def family_of(slo: Slo, slos: Sequence[Slo]) -> Family:
    """Find its family among all objectives."""
    return Family(
        whole=next((other for other in slos if other.name == slo.part_of), None),
        parts=tuple(other for other in slos if other.part_of == slo.name),
    )


def groups(slo: Slo, family: Family) -> list[dict[str, Any]]:
    """Give the groups of rules for one objective; what calls for a part is in the group of its whole.

    Rules of a group see, one after the other, the same instant. Of two groups, each would see the other's past: when an
    outage begins or ends, whole and part would both call, for a moment that Alertmanager may look at.
    """
    of_parts = [rule for part in family.parts for rule in (*_direct(part), *_alerts(part, Family(whole=slo)))]
    short = [*_direct(slo), *of_parts, *_alerts(slo, family)]
    return [
        *([] if family.whole else [{"name": f"telemed-slo-{slo.name}", "interval": _SHORT, "rules": short}]),
        {"name": f"telemed-slo-{slo.name}-days", "interval": _LONG, "rules": [*_weighted(slo), *_bad_events(slo)]},
        {"name": f"telemed-slo-{slo.name}-budget", "interval": _PERIOD, "rules": list(_budget(slo))},
    ]


def _direct(slo: Slo) -> Iterator[Rule]:
    """Record events a second, and the ratio, from the counters themselves."""
    for window in DIRECT:
        bad = slo.error_query.replace(WINDOW, window)
        total = slo.total_query.replace(WINDOW, window)
        yield _record(slo, f"telemed:slo_total:rate{window}", total)
        # Without a failure there may be no series of failures, and nothing divided by something is nothing. `on`, as
        # the record has one label more than the query.
        guarded = f"(\n{_indented(bad)}\n)\nor on (namespace)\n0 * {slo.total_series(window)}"
        yield _record(slo, f"telemed:slo_bad:rate{window}", guarded)
        yield _ratio(slo, window, slo.bad_series(window), slo.total_series(window))


def _weighted(slo: Slo) -> Iterator[Rule]:
    for window in WEIGHTED:
        if window != "30d":
            yield _ratio_over(slo, window)


def _bad_events(slo: Slo) -> Iterator[Rule]:
    """Record how many events were bad."""
    for window, step in _COUNTED.items():
        expression = f"sum_over_time({slo.bad_series(step)}[{window}:{step}]) * {SECONDS[step]}"
        yield _record(slo, f"telemed:slo_bad:increase{window}", expression)


def _budget(slo: Slo) -> Iterator[Rule]:
    yield _ratio_over(slo, "30d")
    left = f"1 - {slo.ratio_series('30d')} / {decimal_text(slo.budget)}"
    yield _record(slo, "telemed:slo_budget_left:ratio_30d", left)


def _ratio_over(slo: Slo, window: str) -> Rule:
    step = _LOOKS.get(window)
    looks = f"{window}:{step}" if step else window  # or every record there is
    averages = (f"avg_over_time({series(step or '5m')}[{looks}])" for series in (slo.bad_series, slo.total_series))
    return _ratio(slo, window, *averages)


def _ratio(slo: Slo, window: str, bad: str, total: str) -> Rule:
    # Without traffic there is no ratio, rather than NaN. Rounded to a billionth: what fails exactly as often as it may
    # must not be above the threshold because 0.1 has no end in binary.
    return _record(
        slo, f"telemed:slo_error:ratio_rate{window}", f"round(\n  1e9 * {bad}\n  /\n  ({total} > 0)\n) / 1e9"
    )


def _alerts(slo: Slo, family: Family) -> Iterator[Rule]:
    """Tell of the budget, soonest first, then of the percentile, and that nobody measures."""
    for name, pairs in itertools.groupby(PAIRS, key=lambda pair: pair.alert):
        yield _burns(slo, name, list(pairs), family)
    for pair in slo.guards:
        is_page = pair.severity is Severity.PAGE
        yield _alert(
            slo,
            pair.alert,
            pair.severity,
            _condition(slo, pair, family),
            f"{slo.title}: the 95th percentile is {'far ' if is_page else ''}above the promise.",
            f"{_share(slo)} within the last {_in_words(pair.long)}; {_allowed(slo)}.",
        )
    yield _absent(slo)


def _burns(slo: Slo, name: str, pairs: Sequence[Pair], family: Family) -> Rule:
    how, until = {
        _FAST: ("so fast that somebody must act now", "is gone within two days, or much sooner"),
        _STEADILY: ("so steadily that somebody must act now", "is gone within five days"),
        "BurnsSlowly": ("faster than it may", "does not last for 30 days"),
    }[name]
    rule = _alert(
        slo,
        name,
        pairs[0].severity,
        "\nor\n".join(_condition(slo, pair, family) for pair in pairs),
        f"{slo.title}: the error budget burns {how}.",
        f"{_share(slo)}; {_allowed(slo)}. At this rate the budget of 30 days {until}.",
    )
    return rule | ({"keep_firing_for": KEPT_FOR} if name == _FAST and family.parts else {})


def _share(slo: Slo) -> str:
    return f"{{{{ $value | humanizePercentage }}}} of the {slo.unit} {slo.fault}"


def _allowed(slo: Slo) -> str:
    return f"{decimal_text(100 * slo.budget)} % may"


def _condition(slo: Slo, pair: Pair, family: Family) -> str:
    threshold = decimal_text(pair.threshold(slo.budget))
    return (
        f"(\n  {slo.ratio_series(pair.long)} > {threshold}\n"
        f"  and {slo.ratio_series(pair.short)} > {threshold}\n"
        f"  and {_enough(pair, _bad_in(slo, pair.long))}\n"
        f"{_unless_young(slo, pair)}"
        f"{_unless_told(slo, pair)}"
        f"{''.join(_unless_of_a_part(slo, pair, threshold, part) for part in family.parts)})"
    )


def _bad_in(slo: Slo, long: str) -> str:
    """Give the bad events in a long window: their number, or how many a second."""
    return slo.bad_events_series(long) if long in _COUNTED else slo.bad_series(long)


def _enough(pair: Pair, bad: str) -> str:
    """Ask for more bad events than chance brings: of three requests at night, one is a third, and also one request."""
    number = bad if pair.long in _COUNTED else f"{bad} * {SECONDS[pair.long]}"
    # Half an event less, as Prometheus extrapolates what it counts.
    return f"{number} > {pair.least_bad - 0.5}"


def _unless_young(slo: Slo, pair: Pair) -> str:
    """Except while the long window is mostly empty: half a minute of errors is a good part of what it holds then."""
    if pair.not_before is None:
        return ""
    # Two looks: at one of them Prometheus itself may have been away.
    looks = (f"{slo.total_series('5m')} offset {age}" for age in (pair.not_before, pair.long))
    return f"  and ({' or '.join(looks)})\n"


def _unless_told(slo: Slo, pair: Pair) -> str:
    """Except what burnt fast: it was called for, and calls again if it comes again; the long windows remember it."""
    if pair.alert != _STEADILY:
        return ""
    return f"  unless on (namespace) last_over_time({_firing(slo, _FAST)}[{pair.short}])\n"


def _unless_of_a_part(slo: Slo, pair: Pair, threshold: str, part: Slo) -> str:
    """Except what burns of a part alone, which calls by itself; if the rest burns as well, the whole calls for both.

    Having called, it speaks until all is well: the rest may be, sooner than the part. What a part has called for is
    not told again while the whole remembers it.
    """
    if pair.severity is not Severity.PAGE:
        return ""
    rest, rest_in_long = (
        f"({whole} - on (namespace) {of_part})"
        for whole, of_part in (
            (slo.bad_series(pair.short), part.bad_series(pair.short)),
            (_bad_in(slo, pair.long), _bad_in(part, pair.long)),
        )
    )
    return (
        f"  unless on (namespace) (\n"
        f"    group by (namespace) (last_over_time({_firing(part, _FAST, _STEADILY)}[{pair.short}]))\n"
        f"    unless on (namespace) (\n"
        f"      {rest} / on (namespace) {slo.total_series(pair.short)} > {threshold}\n"
        f"      and {_enough(pair, rest_in_long)}\n"
        f"    )\n"
        f"    unless on (namespace) last_over_time({_firing(slo, pair.alert)}[1m])\n"
        f"  )\n"
    )


def _firing(slo: Slo, *names: str) -> str:
    alerts = "|".join(f"{slo.alert}{name}" for name in names)
    return f'ALERTS{{alertname=~"{alerts}", alertstate="firing"}}'


def _absent(slo: Slo) -> Rule:
    """Tell that nobody measures: where a service is, where something was measured within the hour, or anywhere."""
    total = slo.total_series("5m")
    rule = _alert(
        slo,
        "Absent",
        Severity.PAGE,
        f"(\n  group by (namespace) (telemed_http_requests_in_flight)\n"
        f"  or group by (namespace) (last_over_time({total}[1h]))\n)\n"
        f"unless on (namespace) {total}\n"
        f"or absent(last_over_time({total}[1h]))",
        f"{slo.title}: nobody measures it, so no alert of it can come.",
        f"There is no series of which to take the {slo.unit}"
        + (": no worker is there, or it does not look." if slo.kind is Kind.FRESHNESS else "."),
    )
    return rule | {"for": _ABSENT_FOR, "annotations": rule["annotations"] | {"runbook_url": f"{RUNBOOKS}slo-absent.md"}}


def _alert(slo: Slo, what: str, severity: Severity, expression: str, summary: str, description: str) -> Rule:
    return {
        "alert": f"{slo.alert}{what}",
        "expr": expression,
        # No `for`: the windows are the patience, and to wait on top would only be late.
        "labels": {"severity": severity.value, "area": slo.name, "slo": slo.name},
        "annotations": {
            "summary": summary,
            "description": description,
            "dashboard_url": DASHBOARD,
            "runbook_url": slo.runbook_url,
        },
    }


def _record(slo: Slo, name: str, expression: str) -> Rule:
    return {"record": name, "expr": expression, "labels": {"slo": slo.name}}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _in_words(window: str) -> str:
    return {"1h": "hour", "30m": "30 minutes"}[window]
