"""When a budget burns too fast: windows, factors and thresholds. Arithmetic only.

Source: multi-window, multi-burn-rate alerts as in "Alerting on SLOs" of Google's SRE workbook, for a period of 30 days.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

PERIOD = timedelta(days=30)
# From the counters themselves. Made of a record of five minutes, the window of an hour would page 90 s later.
DIRECT = ("5m", "10m", "30m", "1h")
# Of what was recorded, weighted by events: bad events over all events, never an average of ratios.
WEIGHTED = ("2h", "6h", "1d", "3d", "30d")
WINDOWS = DIRECT + WEIGHTED

SECONDS = {
    "5m": 300,
    "10m": 600,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "6h": 21_600,
    "1d": 86_400,
    "3d": 259_200,
    "30d": 2_592_000,
}


class Severity(StrEnum):
    """Who hears of an alert: somebody at once, or somebody on a working day."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Pair:
    """An alert's condition: in the long window enough has burnt, and in the short one it still burns.

    *alert*: its name after that of the objective; two pairs may share one. *factor*: how many times faster than the
    objective allows. *least_bad*: so many bad events must lie in the long window, or chance would call. *not_before*:
    it counts once something has been measured for so long; until then its long window holds no more than that of the
    pair before it, which has spoken.
    """

    alert: str
    severity: Severity
    long: str
    short: str
    factor: Decimal
    least_bad: int
    not_before: str | None = None

    def threshold(self, budget: Decimal) -> Decimal:
        """Give the ratio of bad events above which it burns too fast."""
        return self.factor * budget


# The fewest bad events are those that chance brings together less than once in ten thousand windows when the objective
# is just kept, whatever the traffic: n events are `factor` times as many as the n / factor to be expected, by Poisson.
# Factor 1 has no such number, as it is the objective; it takes that of factor 3.
PAIRS = (
    Pair("BurnsFast", Severity.PAGE, "1h", "5m", Decimal("14.4"), 5),
    Pair("BurnsSteadily", Severity.PAGE, "6h", "30m", Decimal(6), 8, not_before="1h"),
    Pair("BurnsSlowly", Severity.TICKET, "1d", "2h", Decimal(3), 18, not_before="6h"),
    Pair("BurnsSlowly", Severity.TICKET, "3d", "6h", Decimal(1), 18, not_before="1d"),
)

# For a 95th percentile. Its budget is so large that 14.4 times as much is 72 %: if everything were slow, the pairs
# above would page after 43 minutes. Three times the budget in an hour pages after nine.
P95_OBJECTIVE = Decimal(95)
P95_GUARDS = (
    Pair("P95GuardFast", Severity.PAGE, "1h", "5m", Decimal(3), 18),
    Pair("P95GuardSlow", Severity.TICKET, "30m", "5m", Decimal(1), 18),
)


def seconds_until(pair: Pair, budget: Decimal, bad_ratio: Decimal) -> int | None:
    """Give the seconds after which an outage fulfils the pair, when nothing was bad before and traffic is steady.

    None: the outage is too small for it, however long it lasts. Scrapes and evaluations come on top, 30 s at most with
    the intervals of the charts, and with little traffic the time until *least_bad* events have happened.
    """
    threshold = pair.threshold(budget)
    if bad_ratio <= threshold:
        return None
    return max(round(threshold / bad_ratio * SECONDS[window]) for window in (pair.long, pair.short))


def decimal_text(number: Decimal) -> str:
    """Write a number as people would: 0.0072 and 6, not 7.2E-3 and 6.00."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
