"""A whole board on one page."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from observability.boards.drawing.canvas import Box, Canvas
from observability.boards.drawing.frame import PADDING, TITLE, Frame, Span, filled
from observability.boards.drawing.heatmaps import draw_heatmap
from observability.boards.drawing.lines import draw_lines
from observability.boards.drawing.numbers import draw_number
from observability.boards.drawing.prometheus import Prometheus, Unreachable
from observability.boards.drawing.spec import Page, Shown, read_page
from observability.boards.drawing.tables import draw_table
from observability.boards.drawing.theme import THEMES
from observability.boards.model import COLUMNS, Kind

WIDTH = 1600
_MARGIN, _GAP = 18, 10
_HEADER = 84
_UNIT_HEIGHT = 31  # of Grafana's grid, in pixels
_DRAWN: dict[str, Callable[[Frame, Shown, Box], bool]] = {
    Kind.LINES: draw_lines,
    Kind.NUMBER: draw_number,
    Kind.TABLE: draw_table,
    Kind.HEATMAP: draw_heatmap,
}


def draw_board(path: Path, prometheus: Prometheus, picture: Path, *, theme: str, given: Mapping[str, str]) -> list[str]:
    """Draw the board of a file, and list the panels that had no data. *given* are values of variables.

    Raises:
        Unreachable: Prometheus does not answer, or knows several namespaces and none was given.
    """
    page = read_page(path)
    variables = _variables(page, prometheus, given)
    bottom = max(shown.place.y + shown.place.h for shown in page.shown)
    canvas = Canvas(WIDTH, _HEADER + bottom * _UNIT_HEIGHT + _MARGIN, THEMES[theme])
    frame = Frame(canvas, prometheus, variables, firing_pages(prometheus, filled(page.pages_query, variables)))
    _header(frame, page)
    empty = [shown.title for shown in page.shown if not _draw(frame, shown)]
    canvas.save(picture)
    return empty


def _variables(page: Page, prometheus: Prometheus, given: Mapping[str, str]) -> dict[str, str]:
    """Say what is put in place of each variable."""
    values = {"__rate_interval": prometheus.rate_interval, "__range": prometheus.shown, "service": ".*", **given}
    if "namespace" in page.variables and "namespace" not in values:
        known = prometheus.label_values("namespace", "telemed_http_requests_total")
        if len(known) != 1:
            raise Unreachable(f"one namespace is drawn at a time, and there are {known}: choose by --namespace")
        values["namespace"] = known[0]
    return values


def firing_pages(prometheus: Prometheus, query: str) -> tuple[Span, ...]:
    """Find when pages were firing, each stretch by itself."""
    spans = []
    for series in prometheus.over(query):
        on = np.flatnonzero(~np.isnan(series.values))
        for stretch in np.split(on, np.flatnonzero(np.diff(on) > 1) + 1):
            if len(stretch):
                begins, ends = prometheus.times[stretch[0]], prometheus.times[stretch[-1]]
                spans.append(Span(series.labels.get("alertname", ""), float(begins), float(ends)))
    return tuple(spans)


def _header(frame: Frame, page: Page) -> None:
    canvas, theme, right = frame.canvas, frame.theme, WIDTH - _MARGIN - 4
    canvas.text(_MARGIN + 4, 30, page.title, size=27, colour=theme.text, bold=True)
    canvas.text(_MARGIN + 4, 62, page.description, size=15, colour=theme.faint)
    begins, ends = (datetime.fromtimestamp(float(frame.times[at]), UTC) for at in (0, -1))
    until = f"{ends:%H:%M}" if ends.date() == begins.date() else f"{ends:%Y-%m-%d %H:%M}"
    when = f"{begins:%Y-%m-%d %H:%M} – {until} UTC"
    canvas.text(right, 30, when, size=15, colour=theme.text, align="right")
    chosen = "   ".join(f"{name}: {frame.variables[name].replace('.*', 'all')}" for name in page.variables)
    canvas.text(right - canvas.width_of(when, 15) - 24, 30, chosen, size=15, colour=theme.faint, align="right")
    if frame.spans:
        fired = ", ".join(dict.fromkeys(span.name for span in sorted(frame.spans, key=lambda span: span.begins)))
        room = right - _MARGIN - canvas.width_of(page.description, 15) - 40
        words = canvas.fitted(f"paged: {fired}", 15, room)
        canvas.text(right, 62, words, size=15, colour=theme.meaning["red"], align="right")


def _draw(frame: Frame, shown: Shown) -> bool:
    """Draw one panel or heading; say whether it had data."""
    column = (WIDTH - 2 * _MARGIN) / COLUMNS
    place = shown.place
    outer = Box(_MARGIN + place.x * column, _HEADER + place.y * _UNIT_HEIGHT, place.w * column, place.h * _UNIT_HEIGHT)
    if shown.kind == "row":
        frame.canvas.text(outer.x + 4, outer.y + outer.h / 2 + 2, shown.title, size=16, colour=frame.theme.faint)
        return True
    box = outer.inside(_GAP / 2, _GAP / 2, _GAP / 2, _GAP / 2)
    frame.canvas.card(box)
    title = frame.canvas.fitted(shown.title, TITLE, box.w - 2 * PADDING - 44, bold=True)
    frame.canvas.text(box.x + PADDING, box.y + 20, title, size=TITLE, colour=frame.theme.text, bold=True)
    return _DRAWN[shown.kind](frame, shown, box)
