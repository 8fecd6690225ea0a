"""A page that is painted in pixels from its upper left corner, with text that knows how wide it is."""

import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from observability.boards.drawing.theme import Theme
from PIL import Image

_DPI = 100
_POINTS_PER_PIXEL = 72 / _DPI
_COLOURS_IN_FILE = 192  # lines on flat ground need no more, and the file is a quarter of the size


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, in pixels."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """Leave margins on the four sides."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


class Canvas:
    """The page: boxes, texts and axes by pixels."""

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.width, self.height, self.theme = width, height, theme
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=theme.page)
        self._renderer = FigureCanvasAgg(self._figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib has no type here

    def card(self, box: Box) -> None:
        """Paint the ground of a panel."""
        corner = (box.x / self.width, 1 - (box.y + box.h) / self.height)
        ground = FancyBboxPatch(
            corner,
            box.w / self.width,
            box.h / self.height,
            boxstyle="round,pad=0,rounding_size=0.003",
            mutation_aspect=self.width / self.height,
            facecolor=self.theme.card,
            edgecolor=self.theme.edge,
            linewidth=1,
            transform=self._figure.transFigure,
            zorder=-1,  # below the axes
        )
        self._figure.add_artist(ground)

    def text(  # what a text is; each of these differs from call to call
        self, x: float, y: float, words: str, *, size: float, colour: str, bold: bool = False, align: str = "left"
    ) -> None:
        """Write one line whose middle is at *y*; *size* in pixels."""
        self._figure.text(
            x / self.width,
            1 - y / self.height,
            words,
            fontsize=size * _POINTS_PER_PIXEL,
            color=colour,
            fontweight="bold" if bold else "normal",
            horizontalalignment=align,
            verticalalignment="center_baseline",
            parse_math=False,
        )

    def width_of(self, words: str, size: float, *, bold: bool = False) -> float:
        """Measure a line, in pixels."""
        font = FontProperties(size=size * _POINTS_PER_PIXEL, weight="bold" if bold else "normal")
        return float(self._renderer.get_text_width_height_descent(words, font, ismath=False)[0])

    def fitted(self, words: str, size: float, room: float, *, bold: bool = False) -> str:
        """Shorten a line until it fits, with an ellipsis where it was cut."""
        if self.width_of(words, size, bold=bold) <= room:
            return words
        while words and self.width_of(f"{words}…", size, bold=bold) > room:
            words = words[:-1]
        return f"{words.rstrip()}…"

    def axes(self, box: Box) -> Axes:
        """Open a coordinate system."""
        place = (box.x / self.width, 1 - (box.y + box.h) / self.height, box.w / self.width, box.h / self.height)
        return self._figure.add_axes(place, facecolor="none")

    def save(self, path: Path) -> None:
        """Write the page as PNG with a palette; the same page is the same file."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="png", dpi=_DPI, facecolor=self.theme.page, metadata={"Software": None})
        with Image.open(buffer) as picture:
            picture.convert("RGB").quantize(_COLOURS_IN_FILE).save(path, format="PNG", optimize=True)
