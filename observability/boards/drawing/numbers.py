"""A panel of one big number."""

import math

from observability.boards.drawing.canvas import Box
from observability.boards.drawing.frame import PADDING, Frame
from observability.boards.drawing.spec import Shown, colour_at
from observability.boards.drawing.units import amount

_LARGEST = 46.0


def draw_number(frame: Frame, shown: Shown, box: Box) -> bool:
    """Draw the panel's content; say whether there was any."""
    asked = shown.asked[0]
    values = [value for _, value in frame.prometheus.now(frame.filled(asked.query)) if not math.isnan(value)]
    if not values:
        frame.no_data(box)
        return False
    number, suffix = amount(asked.unit, values[0], asked.decimals)
    colour = frame.theme.meaning.get(colour_at(shown.steps, values[0]) or "", frame.theme.text)
    canvas, room = frame.canvas, box.w - 2 * PADDING
    size = _LARGEST
    while size > 16 and canvas.width_of(number, size, bold=True) + canvas.width_of(f" {suffix}", size * 0.45) > room:
        size -= 2
    width, gap = canvas.width_of(number, size, bold=True), 6.0 if suffix else 0.0
    whole = width + gap + canvas.width_of(suffix, size * 0.45)
    x, y = box.x + (box.w - whole) / 2, box.y + box.h / 2 + 10
    canvas.text(x, y, number, size=size, colour=colour, bold=True)
    canvas.text(x + width + gap, y + size * 0.14, suffix, size=size * 0.45, colour=colour)
    return True
