"""The words in which a board is written: board, row, panel, target. Knows neither Grafana nor matplotlib."""

from dataclasses import dataclass
from enum import StrEnum

COLUMNS = 24


class Unit(StrEnum):
    """How a number is to be read, by Grafana's name for it."""

    REQUESTS = "reqps"  # requests a second
    EVENTS = "ops"  # anything else that happens, a second
    PER_MINUTE = "opm"
    SECONDS = "s"
    RATIO = "percentunit"  # 0.5 is shown as 50 %
    BYTES = "bytes"
    COUNT = "short"
    NUMBER = "none"  # a count or factor that is never shortened to thousands


class Kind(StrEnum):
    """The form of a panel, by Grafana's name for it."""

    LINES = "timeseries"
    NUMBER = "stat"
    TABLE = "table"
    HEATMAP = "heatmap"


class Colour(StrEnum):
    """What a value beyond a threshold means."""

    GOOD = "green"
    NOTICE = "yellow"
    BAD = "red"


@dataclass(frozen=True)
class Threshold:
    """From *value* upwards the colour is another; in a panel of lines it is drawn across."""

    value: float
    colour: Colour


@dataclass(frozen=True)
class Link:
    """Where a reader goes who sees something odd in a panel: a runbook or another board."""

    title: str
    url: str


@dataclass(frozen=True)
class Target:
    """A query and what its series are called; in a table, *legend* is the head of its column.

    *unit*, *decimals* and *thresholds* are a column's own, where they differ from the panel's.
    """

    query: str
    legend: str
    exemplars: bool = False
    unit: Unit | None = None
    decimals: int | None = None
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One picture. *base* is its colour below the first threshold.

    *labels* are a table's first columns; it is sorted by them, or by the column *sort_by*, the largest first.
    """

    title: str
    description: str
    unit: Unit
    targets: tuple[Target, ...]
    link: Link
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    thresholds: tuple[Threshold, ...] = ()
    base: Colour = Colour.GOOD
    minimum: float = 0
    maximum: float | None = None
    decimals: int | None = None
    stacked: bool = False
    labels: tuple[str, ...] = ()
    sort_by: str = ""


@dataclass(frozen=True)
class Row:
    """Panels under one heading, from left to right and on to the next line."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard; its file and its uid (`telemed-<name>`) follow from its name."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[str, ...] = ("namespace", "service")

    @property
    def uid(self) -> str:
        """By which alerts and other boards link to it."""
        return f"telemed-{self.name}"
