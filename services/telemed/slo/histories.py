"""Counters as `promtool test rules` reads them, made of what happened between two scrapes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from telemed.slo.catalogue import Kind, Slo

_ROUTE = "/booking/slots/search"
_METHOD = "GET"


@dataclass(frozen=True, slots=True)
class Phase:
    """For so many *scrapes*, so many *good* and *bad* events between one and the next."""

    scrapes: int
    good: Decimal = Decimal(0)
    bad: Decimal = Decimal(0)
    is_there: bool = True  # False: the process is not, and shows nothing
    is_reset: bool = False  # True: the process starts anew before the first of these scrapes, with counters at zero


def input_series(slo: Slo, namespace: str, phases: Sequence[Phase], *, has_bad: bool = True) -> list[dict[str, str]]:
    """Give the series of one namespace; *has_bad*: whether failures have a series at all."""
    good, bad = _names(slo, namespace)
    if slo.kind is Kind.LATENCY:  # the second counts all of them
        return [_series(good, phases, "good"), _series(bad, phases, "all")]
    return [_series(good, phases, "good")] + ([_series(bad, phases, "bad")] if has_bad else [])


def _names(slo: Slo, namespace: str) -> tuple[str, str]:
    if slo.kind is Kind.FRESHNESS:
        labels = f'namespace="{namespace}", pod="worker-0", subject="{slo.subject}"'
        return tuple(f'telemed_freshness_checks_total{{{labels}, result="{result}"}}' for result in ("fresh", "late"))  # type: ignore[return-value]  # two
    method = slo.methods[0] if slo.methods else _METHOD
    labels = (
        f'namespace="{namespace}", pod="booking-0", service="booking", method="{method}", route="{slo.route or _ROUTE}"'
    )
    if slo.kind is Kind.REQUESTS:
        return tuple(  # type: ignore[return-value]  # two
            f'telemed_http_requests_total{{{labels}, traffic="user", status="{status}"}}' for status in ("200", "500")
        )
    labels += ', traffic="user", status_class="2xx"'
    metric = "telemed_http_request_duration_seconds"
    # As the client library writes the edge of a bucket.
    return f'{metric}_bucket{{{labels}, le="{float(slo.threshold_seconds or 0)}"}}', f"{metric}_count{{{labels}}}"


def _series(name: str, phases: Sequence[Phase], which: str) -> dict[str, str]:
    return {"series": name, "values": " ".join(_values(phases, which))}


def _values(phases: Sequence[Phase], which: str) -> Iterator[str]:
    """Write `a+bxn`: n + 1 scrapes from *a* on, each by *b* more. The first scrape of all shows zero."""
    count, is_first = Decimal(0), True
    for phase in phases:
        if not phase.is_there:
            yield f"_x{phase.scrapes}"
            count, is_first = Decimal(0), True
            continue
        step = {"good": phase.good, "bad": phase.bad, "all": phase.good + phase.bad}[which]
        if phase.is_reset:
            count = Decimal(0)
        start = count if is_first else count + step
        yield f"{_text(start)}+{_text(step)}x{phase.scrapes - 1}"
        count, is_first = start + step * (phase.scrapes - 1), False


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"
