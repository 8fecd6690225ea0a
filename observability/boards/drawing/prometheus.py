"""The few questions that a picture asks a Prometheus, over its HTTP API."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# More points than a panel has pixels to show would only cost time.
POINTS = 240
_TIMEOUT_SECONDS = 30.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Unreachable(Exception):
    """Prometheus did not answer, or refused the question."""


@dataclass(frozen=True)
class Series:
    """One line: a value for each instant of the window, NaN where there is none."""

    labels: Mapping[str, str]
    values: Values


@dataclass(frozen=True)
class Prometheus:
    """A server, and the window of time that is looked at. *times* are seconds since 1970, evenly spaced."""

    address: str
    times: Values
    step_seconds: int
    scrape_seconds: float

    @classmethod
    def at(cls, address: str, *, minutes: float, until: datetime | None = None) -> "Prometheus":
        """Look at *minutes* until an instant, by default now.

        Raises:
            Unreachable: nobody answers there.
        """
        root = address.rstrip("/")
        scrape = _scrape_seconds(root)
        step = max(int(scrape), round(minutes * 60 / POINTS), 1)
        end = int((until or datetime.now(UTC)).timestamp()) // step * step
        count = int(minutes * 60) // step
        return cls(root, np.arange(end - count * step, end + 1, step, dtype=np.float64), step, scrape)

    @property
    def rate_interval(self) -> str:
        """What Grafana puts in for $__rate_interval: four scrapes at least, so that a missed one leaves no hole."""
        return f"{max(int(self.step_seconds + self.scrape_seconds), int(4 * self.scrape_seconds), 1)}s"

    @property
    def shown(self) -> str:
        """What Grafana puts in for $__range: the whole window."""
        return f"{int(self.times[-1] - self.times[0])}s"

    def over(self, query: str) -> list[Series]:
        """Ask for a query's values at every instant of the window.

        Raises:
            Unreachable: no answer, or Prometheus cannot answer this.
        """
        asked = {"query": query, "start": self.times[0], "end": self.times[-1], "step": self.step_seconds}
        return [self._series(one) for one in _ask(self.address, "query_range", asked)["result"]]

    def now(self, query: str) -> list[tuple[Mapping[str, str], float]]:
        """Ask for a query's values at the end of the window.

        Raises:
            Unreachable: no answer, or Prometheus cannot answer this.
        """
        found = _ask(self.address, "query", {"query": query, "time": self.times[-1]})["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def label_values(self, label: str, metric: str) -> list[str]:
        """List what a label of a metric has been within the window."""
        window = {"match[]": metric, "start": self.times[0], "end": self.times[-1]}
        return sorted(_ask(self.address, f"label/{label}/values", window))

    def _series(self, found: Mapping[str, Any]) -> Series:
        values = np.full(len(self.times), np.nan)
        for instant, value in found["values"]:
            values[round((instant - self.times[0]) / self.step_seconds)] = float(value)
        return Series(found["metric"], values)


def _scrape_seconds(address: str) -> float:
    """Take the longest interval of what is scraped, or what the configuration says for all, if nothing is any more."""
    targets = _ask(address, "targets", {"state": "active"})["activeTargets"]
    usual = re.search(r"scrape_interval: (\S+)", _ask(address, "status/config", {})["yaml"])
    fallback = _seconds(usual[1]) if usual else 60.0
    return max((_seconds(target["scrapeInterval"]) for target in targets), default=fallback)


def _seconds(duration: str) -> float:
    """Read `15s`, `1m30s`."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", duration))


def _ask(address: str, path: str, parameters: Mapping[str, object]) -> Any:  # the shape differs by question
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    if not url.startswith(("http://", "https://")):
        raise Unreachable(f"{address} is no address of a Prometheus")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the scheme is looked at above
            return json.load(answer)["data"]
    except urllib.error.HTTPError as problem:
        raise Unreachable(f"Prometheus refused {parameters.get('query', path)}: {problem.read().decode()}") from problem
    except OSError as problem:
        raise Unreachable(f"no Prometheus answers at {address}: {problem}") from problem
