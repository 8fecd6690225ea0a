"""What all panels share while they are drawn: the page, the server, the variables' values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from observability.boards.drawing.canvas import Box, Canvas
from observability.boards.drawing.prometheus import Prometheus, Values
from observability.boards.drawing.theme import Theme

TITLE, SMALL = 15.0, 12.0  # sizes of text, in pixels
PADDING = 14.0
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Span:
    """A time in which a page was firing, in seconds since 1970."""

    name: str
    begins: float
    ends: float


@dataclass(frozen=True)
class Frame:
    """The page that is painted, and where its numbers come from."""

    canvas: Canvas
    prometheus: Prometheus
    variables: Mapping[str, str]
    spans: tuple[Span, ...] = ()

    @property
    def theme(self) -> Theme:
        """The colours."""
        return self.canvas.theme

    @property
    def times(self) -> Values:
        """The instants that are shown."""
        return self.prometheus.times

    def filled(self, query: str) -> str:
        """Put values in place of a query's variables, as Grafana would."""
        return filled(query, self.variables)

    def no_data(self, box: Box) -> None:
        """Say in words that there is nothing."""
        middle = (box.x + box.w / 2, box.y + box.h / 2 + 6)
        self.canvas.text(*middle, "no data", size=TITLE, colour=self.theme.faint, align="center")


def filled(query: str, variables: Mapping[str, str]) -> str:
    """Put values in place of variables; the longest name first, as one may begin like another."""
    for name in sorted(variables, key=len, reverse=True):
        query = query.replace(f"${name}", variables[name])
    return query


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Write a series' name; a label that it does not have is left empty."""
    return _LABEL.sub(lambda found: labels.get(found[1], ""), legend)
