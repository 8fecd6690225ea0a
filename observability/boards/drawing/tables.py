"""A panel of rows and columns: what several queries say about the same labels."""

import math
from collections.abc import Mapping

from observability.boards.drawing.canvas import Box
from observability.boards.drawing.frame import PADDING, SMALL, Frame
from observability.boards.drawing.spec import Shown, colour_at
from observability.boards.drawing.units import written

_HEAD, _LINE = 48.0, 23.0
_TEXT = 13.0
_NUMBERS = 92.0  # the width of a column of numbers, where there is room for it
Key = tuple[str, ...]
Cells = dict[int, float]  # by the number of the query


def draw_table(frame: Frame, shown: Shown, box: Box) -> bool:
    """Draw the panel's content; say whether there was any."""
    rows = _rows(frame, shown)
    if not rows:
        frame.no_data(box)
        return False
    numbers = min(_NUMBERS, (box.w - 2 * PADDING) * 0.62 / len(shown.asked))
    words = (box.w - 2 * PADDING - numbers * len(shown.asked)) / max(1, len(shown.labels))
    _head(frame, shown, box, numbers)
    room = int((box.h - _HEAD - PADDING) // _LINE)
    fitting = rows if len(rows) <= room else rows[: room - 1]
    y = box.y + _HEAD + _LINE / 2 + 8
    for key, cells in fitting:
        _line(frame, shown, box, y, (key, cells, words, numbers))
        y += _LINE
    if len(fitting) < len(rows):
        more = f"and {len(rows) - len(fitting)} more"
        frame.canvas.text(box.x + PADDING, y, more, size=SMALL, colour=frame.theme.faint)
    return True


def _rows(frame: Frame, shown: Shown) -> list[tuple[Key, Cells]]:
    """Join the answers by the table's labels, in the table's order."""
    rows: dict[Key, Cells] = {}
    for number, asked in enumerate(shown.asked):
        for labels, value in frame.prometheus.now(frame.filled(asked.query)):
            if not math.isnan(value):
                rows.setdefault(_key(shown, labels), {})[number] = value
    by = [asked.legend for asked in shown.asked]
    if shown.sort_by in by:
        column = by.index(shown.sort_by)
        return sorted(rows.items(), key=lambda row: (-row[1].get(column, 0.0), row[0]))
    return sorted(rows.items())


def _key(shown: Shown, labels: Mapping[str, str]) -> Key:
    return tuple(labels.get(name, "") for name in shown.labels)


def _head(frame: Frame, shown: Shown, box: Box, numbers: float) -> None:
    y, canvas, faint = box.y + _HEAD, frame.canvas, frame.theme.faint
    canvas.text(box.x + PADDING, y, " · ".join(shown.labels), size=SMALL, colour=faint)
    for number, asked in enumerate(reversed(shown.asked)):
        words = canvas.fitted(asked.legend, SMALL, numbers - 8)
        canvas.text(box.x + box.w - PADDING - number * numbers, y, words, size=SMALL, colour=faint, align="right")


def _line(frame: Frame, shown: Shown, box: Box, y: float, row: tuple[Key, Cells, float, float]) -> None:
    key, cells, words, numbers = row
    room = words * max(1, len(shown.labels)) - 10
    name = frame.canvas.fitted("  ".join(key), _TEXT, room)
    frame.canvas.text(box.x + PADDING, y, name, size=_TEXT, colour=frame.theme.text)
    for number, asked in enumerate(shown.asked):
        x = box.x + box.w - PADDING - (len(shown.asked) - 1 - number) * numbers
        value = cells.get(number, math.nan)
        steps = asked.steps or shown.steps
        colour = frame.theme.faint if math.isnan(value) else frame.theme.text
        meant = None if math.isnan(value) else colour_at(steps, value)
        colour = frame.theme.meaning.get(meant or "", colour)
        text = written(asked.unit, value, asked.decimals)
        frame.canvas.text(x, y, text, size=_TEXT, colour=colour, align="right")
