"""Tests of one objective's alerts, for `promtool test rules`: a scene is a namespace in which something happens.

They hold the rules to the arithmetic of `windows`. That the arithmetic is right, tests/observability/slo shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from telemed.slo.catalogue import Kind, Slo
from telemed.slo.histories import Phase, input_series
from telemed.slo.prometheus_rules import KEPT_FOR, Family
from telemed.slo.windows import PAIRS, SECONDS, Pair, Severity, seconds_until

Check = dict[str, Any]  # as promtool reads it

_SCRAPE = 15
_LEAD = 6 * 3600 // _SCRAPE  # as long as the longest window of a page: before, all is well
_AFTER = 55 * 60 // _SCRAPE  # 1 % of failures pages after 43 minutes
_BUSY = Decimal(2000)  # events between two scrapes, so that each objective is a whole number of them
_FEW = Decimal(70)  # of a part: one in thirty of all. A fraction would add up to what looks like a restart
_LITTLE = Decimal("0.125")  # one event in two minutes
# Half as often as the charts evaluate, so that the tests take half the time.
_EVALUATION = 30
# A scrape, an evaluation, and what Prometheus extrapolates beyond the last scrape.
_LATE, _EARLY = 60, 30
_SECONDS_KEPT = 60 * int(KEPT_FOR.removesuffix("m"))
_OUTAGES = (Decimal("0.01"), Decimal("0.05"), Decimal("0.2"), Decimal(1))


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens in a namespace, and what is checked of it."""

    namespace: str
    phases: Sequence[Phase]
    checks: Sequence[Check]
    has_bad: bool = True
    also: Sequence[dict[str, str]] = ()  # series besides those that the objective is measured by


def tests_of(slo: Slo, family: Family, rules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give the files of tests for one objective, by what they are about; *rules*: paths to its rules and its parts'."""
    pages = [
        _test(slo, f"{slo.name}: pages", _SCRAPE, [*_pages(slo, family), *_parts(slo, family)]),
        _nothing_to_measure(slo),
        _nothing_at_all(slo),
    ]
    tickets = [_test(slo, f"{slo.name}: tickets", _SLOW_SCRAPE, list(_tickets(slo)))]
    return {
        about: {"rule_files": list(rules), "evaluation_interval": f"{seconds}s", "tests": tests}
        for about, seconds, tests in (("pages", _EVALUATION, pages), ("tickets", _SLOW_EVALUATION, tickets))
    }


def _pages(slo: Slo, family: Family) -> Iterator[Scene]:
    for ratio in _OUTAGES:
        yield _outage(slo, ratio)
    yield _ends(slo, family)
    yield from _remembered(slo)
    yield from _steadily(slo)
    yield from _young(slo)
    well = _phase(_LEAD)
    after = _LEAD + _AFTER
    yield _quiet(slo, "objective-just-kept", _just_kept(slo, after))
    yield _quiet(slo, "no-traffic", [_phase(_LEAD // 2), Phase(after - _LEAD // 2)])
    one = [Phase(_LEAD, _LITTLE), Phase(1, bad=Decimal(1)), Phase(_AFTER - 1, _LITTLE)]
    yield _quiet(slo, "one-failure-at-night", one)
    yield _quiet(slo, "counters-reset", [well, Phase(_AFTER, _BUSY, is_reset=True)])
    yield _quiet(slo, "starts", [Phase(_LEAD, is_there=False), _phase(_AFTER)])
    yield from _failing(slo)
    if slo.kind is not Kind.LATENCY:
        left = slo.budget_left_series.replace("{", '{namespace="never-failed", ')
        whole = _check(f"sum({left})", after, 1)
        yield Scene("never-failed", [_phase(after)], [whole], has_bad=False)


def _outage(slo: Slo, ratio: Decimal) -> Scene:
    """Let a part of the events be bad from one moment on, until the end."""
    namespace = f"outage-of-{int(100 * ratio)}-percent"
    checks: list[Check] = []
    tickets = {"P95GuardSlow": [pair for pair in slo.guards if pair.severity is Severity.TICKET]} if slo.guards else {}
    for what, pairs in (_paging(slo) | tickets).items():
        seconds = _soonest(pairs, slo.budget, ratio)
        if seconds is None or seconds > _AFTER * _SCRAPE:
            checks.append(_never(slo, namespace, _LEAD + _AFTER, f'alertname="{slo.alert}{what}"'))
        else:
            checks += _from(slo, namespace, what, _LEAD * _SCRAPE + seconds)
    checks.append(_never(slo, namespace, _LEAD + _AFTER, f'alertname="{slo.alert}BurnsSteadily"'))
    return Scene(namespace, [_phase(_LEAD), _phase(_AFTER, ratio)], checks)


def _ends(slo: Slo, family: Family) -> Scene:
    """Let everything be bad until each page has come; then each must go within its short window."""
    lasts = max(_soonest(pairs, slo.budget, Decimal(1)) or 0 for pairs in _paging(slo).values()) // _SCRAPE
    lasts = min(lasts + 120 // _SCRAPE, _AFTER // 2)
    end = (_LEAD + lasts) * _SCRAPE
    namespace, checks = "outage-ends", list[Check]()
    for what, pairs in _paging(slo).items():
        if (_soonest(pairs, slo.budget, Decimal(1)) or 0) > lasts * _SCRAPE:
            continue
        gone = end + max(SECONDS[pair.short] for pair in pairs) + _LATE
        if what == "BurnsFast" and family.parts:
            checks.append(_is(slo, namespace, what, gone, fires=True))
            gone += _SECONDS_KEPT
        checks += [_is(slo, namespace, what, end - _SCRAPE, fires=True), _is(slo, namespace, what, gone, fires=False)]
    checks.append(_never(slo, namespace, _LEAD + _AFTER, f'alertname="{slo.alert}BurnsSteadily"'))
    phases = [_phase(_LEAD), _phase(lasts, Decimal(1)), _phase(_AFTER - lasts)]
    return Scene(namespace, phases, checks)


def _remembered(slo: Slo) -> Iterator[Scene]:
    """End an outage that the long pair remembers: it calls no more, and another one does."""
    lasts = _long_remembered(slo)
    if lasts is None:
        return  # for hours
    minute = 60 // _SCRAPE
    end = _LEAD + lasts
    again = end + 24 * minute  # before the long pair has forgotten it
    course = [(_LEAD, Decimal(0)), (lasts, Decimal(1)), (again - end, Decimal(0)), (5 * minute, 20 * slo.budget)]
    checks = [_is(slo, "outage-remembered", "BurnsFast", (again + 4 * minute) * _SCRAPE, fires=True)]
    checks += [_did_not_fire(slo, "outage-remembered", again, minutes=15)]
    yield Scene("outage-remembered", [_phase(scrapes, bad_ratio) for scrapes, bad_ratio in course], checks)


def _steadily(slo: Slo) -> Iterator[Scene]:
    """Let twice what the pair of six hours allows be bad for hours: it calls, also when nothing is known of a while."""
    pair, minute = PAIRS[1], 60 // _SCRAPE
    ratio = 2 * pair.threshold(slo.budget)
    after = SECONDS[pair.long] // 2 // _SCRAPE
    course = [_phase(_LEAD), _phase(after + 15 * minute, ratio)]
    # An average of rates over five minutes is behind by half of them.
    checks = _from(slo, "burns-steadily", pair.alert, (_LEAD + after) * _SCRAPE, slack=5 * 60)
    checks.append(_never(slo, "burns-steadily", _LEAD + after + 15 * minute, f'alertname="{slo.alert}BurnsFast"'))
    yield Scene("burns-steadily", course, checks)
    # The while lies an hour back, and the record lives for five minutes longer than what it is made of.
    away = _LEAD + after - 60 * minute
    gap = 14 * minute
    course = [_phase(_LEAD), _phase(away - _LEAD, ratio), Phase(gap, is_there=False), _phase(after, ratio)]
    yield Scene("was-away", course, [_is(slo, "was-away", pair.alert, (away + 70 * minute) * _SCRAPE, fires=True)])


def _parts(slo: Slo, family: Family) -> Iterator[Scene]:
    """Let a part be bad alone, by day and by night, and with the rest: the whole calls only when that burns, too."""
    for part in family.parts:
        yield _part_burns(slo, part)
        yield _part_burns_at_night(slo, part)
        yield _part_burnt_alone(slo, part)
        yield _part_burnt_with_the_rest(slo, part)


def _part_burns(slo: Slo, part: Slo) -> Scene:
    """Let all of a part be bad, which calls by itself, and for some minutes the rest as well."""
    minute = 60 // _SCRAPE
    # Long enough for both pairs: of all events, one in thirty is bad.
    alone, both, again = 45 * minute, 10 * minute, 35 * minute
    course = [(_LEAD + alone, Decimal(0)), (both, Decimal("0.2")), (again, Decimal(0))]
    rest = [_phase(scrapes, bad_ratio) for scrapes, bad_ratio in course]
    of_part = [Phase(_LEAD, _FEW), Phase(alone + both + again, bad=_FEW)]
    namespace, begins = f"{part.name}-burns", _LEAD + alone
    # Once the whole has called, it goes on for the part.
    expected = {begins - minute: False, begins + 2 * minute: True, begins + both + again - minute: True}
    checks = [_is(slo, namespace, "BurnsFast", at * _SCRAPE, fires=fires) for at, fires in expected.items()]
    for at in (_LEAD + 2 * minute, begins + both + again - minute):
        checks += [_is(part, namespace, "BurnsFast", at * _SCRAPE, fires=True)]
    checks += [_did_not_fire(slo, namespace, begins, minutes=45)]
    return Scene(namespace, rest, checks, also=input_series(part, namespace, of_part))


def _part_burns_at_night(slo: Slo, part: Slo) -> Scene:
    """Let all of few events of a part be bad, and one of the rest: that is no sign that the rest burns."""
    minute = 60 // _SCRAPE
    known, after = 12 * minute, 33 * minute
    rest = [Phase(_LEAD + known + 5 * minute, _LITTLE), Phase(1, bad=Decimal(1)), Phase(after - 5 * minute, _LITTLE)]
    of_part = [Phase(_LEAD, _LITTLE), Phase(known + after, bad=_LITTLE)]
    namespace = f"{part.name}-burns-at-night"
    checks = [
        _is(part, namespace, "BurnsFast", (_LEAD + known) * _SCRAPE, fires=True),
        _did_not_fire(slo, namespace, _LEAD + known + after, minutes=45),
    ]
    return Scene(namespace, rest, checks, also=input_series(part, namespace, of_part))


def _part_burnt_alone(slo: Slo, part: Slo) -> Scene:
    """End what burnt of a part alone, after so long that the whole remembers it: the part has called for it."""
    minute = 60 // _SCRAPE
    outage, after = 45 * minute, 35 * minute
    of_part = [Phase(_LEAD, _FEW), Phase(outage, bad=_FEW), Phase(after, _FEW)]
    namespace = f"{part.name}-burnt-alone"
    checks = [
        _is(part, namespace, "BurnsFast", (_LEAD + outage) * _SCRAPE, fires=True),
        _did_not_fire(slo, namespace, _LEAD + outage + after, minutes=80),
    ]
    phases = [_phase(_LEAD + outage + after)]
    return Scene(namespace, phases, checks, also=input_series(part, namespace, of_part))


def _part_burnt_with_the_rest(slo: Slo, part: Slo) -> Scene:
    """End an outage of which a part had more than the rest: it is remembered for longer, and not called for alone."""
    minute = 60 // _SCRAPE
    # Long enough for the first pair of the whole, not for the second, and for both of the part.
    outage, after = 14 * minute, 25 * minute
    course = [(_LEAD, Decimal(0)), (outage, Decimal("0.03")), (after, Decimal(0))]
    of_part = [Phase(_LEAD, _FEW), Phase(outage, bad=_FEW), Phase(after, _FEW)]
    namespace, end = f"{part.name}-burnt-with-the-rest", _LEAD + outage
    part_alone = f"{_paged(part, namespace)} unless on (namespace) {_paged(slo, namespace)}"
    checks = [_is(one, namespace, "BurnsFast", end * _SCRAPE, fires=True) for one in (slo, part)]
    checks += [_check(f"count_over_time(({part_alone})[25m:{_SCRAPE}s])", end + after, None)]
    phases = [_phase(scrapes, bad_ratio) for scrapes, bad_ratio in course]
    return Scene(namespace, phases, checks, also=input_series(part, namespace, of_part))


def _did_not_fire(slo: Slo, namespace: str, until: int, *, minutes: int) -> Check:
    """Check that the pages of the budget did not fire, not even for a moment, in the minutes before a scrape."""
    return _check(f"count_over_time({_paged(slo, namespace)}[{minutes}m])", until, None)


def _paged(slo: Slo, namespace: str) -> str:
    return f'ALERTS{{namespace="{namespace}", alertname=~"{slo.alert}Burns(Fast|Steadily)", alertstate="firing"}}'


def _long_remembered(slo: Slo) -> int | None:
    """Say for how many scrapes all must be bad for a page's long pair to remember it; None: for hours."""
    lasts = (seconds_until(PAIRS[1], slo.budget, Decimal(1)) or 0) // _SCRAPE + 120 // _SCRAPE
    return lasts if lasts <= _AFTER // 2 else None


def _young(slo: Slo) -> Iterator[Scene]:
    """Let a platform that is minutes old fail for a moment, and go on somewhat above the long pair's threshold.

    It calls once. When the pair of an hour has forgotten, that of six hours holds little else, and must not speak yet.
    """
    first, second = PAIRS[:2]
    if first.threshold(slo.budget) > Decimal("0.5"):
        return  # so large a part of minutes is not a moment
    namespace, minute = "young", 60 // _SCRAPE
    phases = [_phase(3 * minute), _phase(minute, Decimal(1))]
    phases += [_phase(_LEAD + _AFTER - 4 * minute, second.threshold(slo.budget) * 2)]
    # As it ends, when five minutes have forgotten it, while there is no hour, and when there is.
    fast = {4: True, 4 + 5 + 5: False, 60 + 2: False}
    steadily = {4: False, 4 + 5 + 5: False, 59: False, 60 + 2: True}
    checks = [_is(slo, namespace, "BurnsFast", 60 * at, fires=fires) for at, fires in fast.items()]
    checks += [_is(slo, namespace, "BurnsSteadily", 60 * at, fires=fires) for at, fires in steadily.items()]
    yield Scene(namespace, phases, checks)


def _failing(slo: Slo) -> Iterator[Scene]:
    """Outages that a careless guard would hide: with little traffic, across a restart, from the first moment."""
    what, pairs = list(_paging(slo).items())[-1]
    (first, *_) = pairs
    seconds = _soonest(pairs, slo.budget, Decimal(1)) or 0
    enough = max(seconds, int(first.least_bad / _LITTLE) * _SCRAPE)
    start = _LEAD * _SCRAPE
    checks = _from(slo, "outage-at-night", what, start + enough, slack=2 * _LATE)
    yield Scene("outage-at-night", [Phase(_LEAD, _LITTLE), Phase(_AFTER, bad=_LITTLE)], checks)
    # What was counted between the last scrape and the restart is lost.
    half = max(2, seconds // 2 // _SCRAPE)
    again = Phase(_AFTER - half, bad=_BUSY, is_reset=True)
    checks = [_is(slo, "outage-with-restart", what, start + seconds + 2 * _LATE, fires=True)]
    yield Scene("outage-with-restart", [_phase(_LEAD), _phase(half, Decimal(1)), again], checks)
    checks = [_is(slo, "fails-from-the-start", what, start + 2 * _LATE, fires=True)]
    yield Scene("fails-from-the-start", [Phase(_LEAD, is_there=False), _phase(_AFTER, Decimal(1))], checks)


# Tickets look at days: fewer scrapes, so that a test takes seconds.
_SLOW_SCRAPE, _SLOW_EVALUATION = 120, 300
_SLOW_LEAD = 3 * 86_400 // _SLOW_SCRAPE
_SLOW_AFTER = 40 * 3600 // _SLOW_SCRAPE
_SLOW_SLACK = 900


def _tickets(slo: Slo) -> Iterator[Scene]:
    """Twice the threshold of each pair, so that it is reached in half of the long window."""
    for pair in (pair for pair in PAIRS if pair.severity is Severity.TICKET):
        namespace = f"burns-at-{2 * pair.factor}"
        ratio = 2 * pair.threshold(slo.budget)
        seconds = seconds_until(pair, slo.budget, ratio) or 0
        at = _SLOW_LEAD * _SLOW_SCRAPE + seconds
        checks = _from(slo, namespace, "BurnsSlowly", at, slack=_SLOW_SLACK)
        yield Scene(namespace, [_phase(_SLOW_LEAD), _phase(_SLOW_AFTER, ratio)], checks)
    all_of_it = _SLOW_LEAD + _SLOW_AFTER
    never = _never(slo, "objective-just-kept", all_of_it * _SLOW_SCRAPE // _SCRAPE)
    yield Scene("objective-just-kept", _just_kept(slo, all_of_it), [never])


def _nothing_to_measure(slo: Slo) -> Check:
    """Services without the series: of one namespace from the start, of another after an hour."""
    hour = 3600 // _SCRAPE
    there = [{"series": f'telemed_http_requests_in_flight{{namespace="{name}", priority="normal"}}', "values": "0x480"}
             for name in ("measured", "never-measured", "not-measured-now")]  # fmt: skip
    series = [
        *there,
        *input_series(slo, "measured", [_phase(2 * hour)]),
        *input_series(slo, "not-measured-now", [_phase(hour), Phase(hour, is_there=False)]),
    ]
    checks = [
        _never(slo, "measured", 2 * hour),
        _is(slo, "never-measured", "Absent", 5 * 60 - _SCRAPE, fires=False),
        _is(slo, "never-measured", "Absent", 5 * 60 + _SCRAPE, fires=True),
        _is(slo, "not-measured-now", "Absent", 3600, fires=False),
        # The record lives for up to five minutes longer than what it is made of.
        _is(slo, "not-measured-now", "Absent", 3600 + 2 * 5 * 60 + _LATE, fires=True),
    ]
    return {
        "name": f"{slo.name}: absent",
        "interval": f"{_SCRAPE}s",
        "input_series": series,
        "promql_expr_test": checks,
    }


def _nothing_at_all(slo: Slo) -> Check:
    absent = f'count(ALERTS{{alertname="{slo.alert}Absent", alertstate="firing"}})'
    return {
        "name": f"{slo.name}: nothing at all",
        "interval": f"{_SCRAPE}s",
        "promql_expr_test": [_check(absent, 6 * 60 // _SCRAPE, 1)],
    }


def _test(slo: Slo, name: str, scrape: int, scenes: Sequence[Scene]) -> Check:
    return {
        "name": name,
        "interval": f"{scrape}s",
        "input_series": [
            series
            for scene in scenes
            for series in (*input_series(slo, scene.namespace, scene.phases, has_bad=scene.has_bad), *scene.also)
        ],
        "promql_expr_test": [check for scene in scenes for check in scene.checks],
    }


def _paging(slo: Slo) -> dict[str, list[Pair]]:
    """Give the alerts that call somebody at once, each with its pairs; the guard, which is the sooner, last."""
    pairs = [pair for pair in (*PAIRS, *slo.guards) if pair.severity is Severity.PAGE and pair.short == "5m"]
    return {pair.alert: [pair] for pair in pairs}


def _soonest(pairs: Sequence[Pair], budget: Decimal, ratio: Decimal) -> int | None:
    times = [seconds_until(pair, budget, ratio) for pair in pairs]
    return min((time for time in times if time is not None), default=None)


def _phase(scrapes: int, bad_ratio: Decimal = Decimal(0)) -> Phase:
    return Phase(scrapes, _BUSY * (1 - bad_ratio), _BUSY * bad_ratio)


def _just_kept(slo: Slo, scrapes: int) -> list[Phase]:
    """Let exactly as many be bad as may be, of more and fewer events: rates of them have no end in binary."""
    sizes = [_BUSY * times for times in (1, 3, 7, 11, 2, 13)]
    return [Phase(scrapes // len(sizes), size * (1 - slo.budget), size * slo.budget) for size in sizes]


def _quiet(slo: Slo, namespace: str, phases: Sequence[Phase]) -> Scene:
    """No alert may have fired at any time."""
    return Scene(namespace, phases, [_never(slo, namespace, _LEAD + _AFTER)])


def _never(slo: Slo, namespace: str, scrapes: int, matchers: str = 'severity=~".+"') -> Check:
    fired = f'count_over_time(ALERTS{{namespace="{namespace}", slo="{slo.name}", alertstate="firing", {matchers}}}[7d])'
    return _check(fired, scrapes, None)


def _from(slo: Slo, namespace: str, what: str, second: int, slack: int = _LATE) -> list[Check]:
    early = second - (_EARLY if slack == _LATE else slack)
    return [
        _is(slo, namespace, what, early, fires=False),
        _is(slo, namespace, what, second + slack, fires=True),
    ]


def _is(slo: Slo, namespace: str, what: str, second: int, *, fires: bool) -> Check:
    alert = f'alertname="{slo.alert}{what}", namespace="{namespace}", alertstate="firing"'
    return {"expr": f"count(ALERTS{{{alert}}})", "eval_time": f"{second}s", **_expected(1 if fires else None)}


def _check(expression: str, scrapes: int, value: int | None) -> Check:
    return {"expr": expression, "eval_time": f"{(scrapes - 1) * _SCRAPE}s", **_expected(value)}


def _expected(value: int | None) -> Check:
    return {"exp_samples": [] if value is None else [{"labels": "{}", "value": value}]}
