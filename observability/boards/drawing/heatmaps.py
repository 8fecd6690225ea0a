"""A panel of a histogram over time: the darker a cell, the fewer fell into that bucket at that time."""

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import FixedLocator, FuncFormatter
from observability.boards.drawing.canvas import Box
from observability.boards.drawing.frame import PADDING, Frame
from observability.boards.drawing.lines import prepared_axes
from observability.boards.drawing.prometheus import Values
from observability.boards.drawing.spec import Shown
from observability.boards.drawing.units import written

_HEAD, _LEFT, _BOTTOM = 38.0, 62.0, 30.0
_LABELS = 7  # of the vertical axis, at most


def draw_heatmap(frame: Frame, shown: Shown, box: Box) -> bool:
    """Draw the panel's content; say whether there was any."""
    series = frame.prometheus.over(frame.filled(shown.asked[0].query))
    by_edge = sorted((float(one.labels["le"]), one.values) for one in series if "le" in one.labels)
    if not by_edge or not np.nansum(by_edge[-1][1]) > 0:
        frame.no_data(box)
        return False
    edges = [edge for edge, _ in by_edge]
    counts = _counts([np.nan_to_num(values) for _, values in by_edge])
    axes = prepared_axes(frame, box.inside(_LEFT, _HEAD, PADDING, PADDING + _BOTTOM - 6))
    axes.grid(visible=False)
    # From the ground of the card to the brightest: an empty cell is not painted at all.
    scheme = LinearSegmentedColormap.from_list("heat", [frame.theme.card, "#2a6f97", "#4fc08d", "#f2e35a"])
    half = frame.prometheus.step_seconds / 2
    across = np.append(frame.times - half, frame.times[-1] + half)
    axes.pcolormesh(across, np.arange(len(edges) + 1), counts, cmap=scheme, norm=PowerNorm(0.5), rasterized=True)
    axes.set_ylim(0, len(edges))
    every = math.ceil(len(edges) / _LABELS)
    axes.yaxis.set_major_locator(FixedLocator([number + 1 for number in range(0, len(edges) - 1, every)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: written(shown.unit, edges[round(at) - 1])))
    return True


def _counts(cumulative: list[Values]) -> Values:
    """Take what lies below a bucket out of it. An estimate may come out below nothing by a hair."""
    whole = np.vstack([np.zeros(len(cumulative[0])), *cumulative])
    found: Values = np.clip(np.diff(whole, axis=0), 0, None)
    return found
