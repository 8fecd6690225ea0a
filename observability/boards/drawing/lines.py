"""A panel of lines: axes, thresholds, firing pages, and a legend with the last values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from observability.boards.drawing.canvas import Box
from observability.boards.drawing.frame import PADDING, SMALL, TITLE, Frame, Span, named
from observability.boards.drawing.prometheus import Values
from observability.boards.drawing.spec import Shown
from observability.boards.drawing.units import Scale, digits, scale_for, written

_HEAD, _LEFT, _RIGHT = 38.0, 50.0, 16.0
_LEGEND_LINE, _LEGEND_LINES = 18.0, 2
_TIME_TICKS = 24.0
_NEAR = 0.3  # a threshold is drawn if the lines come this near to it, or it would press them to the ground


@dataclass(frozen=True)
class Line:
    """One series of a panel."""

    name: str
    values: Values
    colour: str

    @property
    def last(self) -> float:
        """Its latest value; NaN if it never had one."""
        known = self.values[~np.isnan(self.values)]
        return float(known[-1]) if len(known) else float("nan")


def draw_lines(frame: Frame, shown: Shown, box: Box) -> bool:
    """Draw the panel's content; say whether there was any."""
    lines = _lines(frame, shown)
    if not lines:
        frame.no_data(box)
        return False
    legend = _legend(frame, shown, lines, box.w - 2 * PADDING)
    plot = box.inside(_LEFT, _HEAD, _RIGHT, PADDING + _TIME_TICKS + _LEGEND_LINE * len(legend))
    highest = max(float(np.nanmax(line.values)) for line in lines)
    if shown.stacked:
        highest = float(np.nanmax(np.nansum([line.values for line in lines], axis=0)))
    scale = scale_for(shown.unit, highest)
    axes = prepared_axes(frame, plot)
    _plot(frame, axes, lines, scale, stacked=shown.stacked)
    _bound(axes, shown, highest, scale)
    _thresholds(frame, axes, shown, scale, box)
    _unit(frame, scale, box)
    _paint_legend(frame, legend, box)
    return True


def prepared_axes(frame: Frame, plot: Box) -> Axes:
    """Open axes with time across, in the theme's colours, firing pages shaded."""
    axes, theme, times = frame.canvas.axes(plot), frame.theme, frame.times
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_color(theme.edge)
    axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.faint, labelsize=SMALL * 0.72, length=0, pad=5)
    axes.set_xlim(float(times[0]), float(times[-1]))
    ticks = _time_ticks(float(times[0]), float(times[-1]), plot.w)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    pattern = "%H:%M" if all(at % 60 == 0 for at in ticks) else "%H:%M:%S"
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime(pattern)))
    for begins, ends in merged(frame.spans):
        axes.axvspan(begins, ends, color=theme.meaning["red"], alpha=0.09, linewidth=0, zorder=0)
    return axes


def _lines(frame: Frame, shown: Shown) -> list[Line]:
    """Ask for the panel's series; those without a single number are left out."""
    found = []
    for asked in shown.asked:
        for series in frame.prometheus.over(frame.filled(asked.query)):
            values = np.where(np.isfinite(series.values), series.values, np.nan)
            if not np.isnan(values).all():
                found.append((named(asked.legend, series.labels), values))
    # Several queries are in a meant order; the series of one query come in that of their names.
    if len(shown.asked) == 1:
        found.sort(key=lambda pair: pair[0])
    return [Line(name, values, frame.theme.of_series(number)) for number, (name, values) in enumerate(found)]


def _plot(frame: Frame, axes: Axes, lines: Sequence[Line], scale: Scale, *, stacked: bool) -> None:
    ground: Values = np.zeros(len(frame.times))
    for line in lines:
        values = line.values / scale.divisor
        if stacked:
            top = ground + np.nan_to_num(values)
            axes.fill_between(frame.times, ground, top, color=line.colour, alpha=0.45, linewidth=0)
            axes.plot(frame.times, top, color=line.colour, linewidth=1.1)
            ground = top
        else:
            axes.plot(frame.times, values, color=line.colour, linewidth=1.5, solid_joinstyle="round")
            _lone_points(frame, axes, line, values)
            if len(lines) <= 3:
                axes.fill_between(frame.times, 0, values, color=line.colour, alpha=0.09, linewidth=0)


def _lone_points(frame: Frame, axes: Axes, line: Line, values: Values) -> None:
    """Show a value between two gaps, which no line would reach."""
    known = ~np.isnan(values)
    before, after = np.append(False, known[:-1]), np.append(known[1:], False)
    lone = known & ~before & ~after
    axes.plot(frame.times[lone], values[lone], ".", color=line.colour, markersize=4)


def _bound(axes: Axes, shown: Shown, highest: float, scale: Scale) -> None:
    """Begin at the least that is shown, leave room above, and show a threshold that is near."""
    near = [step.value for step in shown.limits if highest >= _NEAR * step.value]
    top = max([highest, *near]) * 1.08 / scale.divisor
    if shown.maximum is not None:
        top = shown.maximum * 1.02 / scale.divisor
    lowest = shown.minimum / scale.divisor
    axes.set_ylim(lowest, top if top > lowest else 1)
    locator = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])
    axes.yaxis.set_major_locator(locator)
    ticks = locator.tick_values(*axes.get_ylim())
    step = float(ticks[1] - ticks[0])
    places = next((places for places in range(4) if abs(round(step, places) - step) < step * 1e-6), 4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: digits(value, places)))


def _thresholds(frame: Frame, axes: Axes, shown: Shown, scale: Scale, box: Box) -> None:
    """Draw thresholds across; one that is far above is told in words, beside the unit."""
    far = []
    for step in shown.limits:
        height = step.value / scale.divisor
        if height <= axes.get_ylim()[1]:
            axes.axhline(height, color=frame.theme.meaning[step.colour], linewidth=1.2, linestyle=(0, (5, 3)))
        else:
            far.append(step)
    x = box.x + box.w - PADDING - frame.canvas.width_of(scale.suffix, SMALL) - 12
    for step in reversed(far):
        words = f"↑ {written(shown.unit, step.value)}"
        frame.canvas.text(x, box.y + 20, words, size=SMALL - 1, colour=frame.theme.meaning[step.colour], align="right")
        x -= frame.canvas.width_of(words, SMALL - 1) + 10


def _unit(frame: Frame, scale: Scale, box: Box) -> None:
    x, y = box.x + box.w - PADDING, box.y + 20
    frame.canvas.text(x, y, scale.suffix, size=SMALL, colour=frame.theme.faint, align="right")


Entry = tuple[str, str, str, float]  # name, value, colour, width in pixels


def _legend(frame: Frame, shown: Shown, lines: Sequence[Line], room: float) -> list[list[Entry]]:
    """Break the names into lines; what does not fit is counted instead."""
    entries = []
    for line in lines:
        name = frame.canvas.fitted(line.name, SMALL, room * 0.7)
        value = written(shown.unit, line.last)
        width = 18 + frame.canvas.width_of(f"{name} {value}", SMALL) + 18
        entries.append((line.last, (name, value, line.colour, width)))
    if len(entries) > 6:  # so that what is left out is what matters least
        entries.sort(key=lambda pair: -np.nan_to_num(pair[0]))
    rows: list[list[Entry]] = [[]]
    for number, (_, entry) in enumerate(entries):
        if sum(item[3] for item in rows[-1]) + entry[3] > room and rows[-1]:
            if len(rows) == _LEGEND_LINES:
                return _counted(frame, rows, len(entries) - number, room)
            rows.append([])
        rows[-1].append(entry)
    return rows


def _counted(frame: Frame, rows: list[list[Entry]], left_out: int, room: float) -> list[list[Entry]]:
    """Say how many names are left out; room is made for it at the end of the last line."""
    words = f"and {left_out} more"
    while len(rows[-1]) > 1 and sum(item[3] for item in rows[-1]) + frame.canvas.width_of(words, SMALL) > room:
        rows[-1].pop()
        left_out += 1
        words = f"and {left_out} more"
    rows[-1].append((words, "", "", 0))
    return rows


def _paint_legend(frame: Frame, rows: list[list[Entry]], box: Box) -> None:
    y = box.y + box.h - PADDING + 4 - _LEGEND_LINE * len(rows) + _LEGEND_LINE / 2
    for row in rows:
        x = box.x + PADDING
        for name, value, colour, width in row:
            if not colour:
                frame.canvas.text(x, y, name, size=SMALL, colour=frame.theme.faint)
                continue
            frame.canvas.text(x, y, "━", size=TITLE, colour=colour)
            frame.canvas.text(x + 18, y, name, size=SMALL, colour=frame.theme.text)
            x_value = x + 18 + frame.canvas.width_of(f"{name} ", SMALL)
            frame.canvas.text(x_value, y, value, size=SMALL, colour=frame.theme.faint)
            x += width
        y += _LEGEND_LINE


def merged(spans: Sequence[Span]) -> list[tuple[float, float]]:
    """Join what overlaps: two pages at once are not twice as red."""
    found: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda span: span.begins):
        if found and span.begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], span.ends))
        else:
            found.append((span.begins, span.ends))
    return found


def _time_ticks(start: float, end: float, room: float) -> list[float]:
    """Choose round instants, a label's width apart at least."""
    most = max(2, int(room // 75))
    rounded = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
    step = next((step for step in rounded if (end - start) / step <= most), rounded[-1])
    first = -(-start // step) * step
    return [float(at) for at in np.arange(first, end + 1, step)]
