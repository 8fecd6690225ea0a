"""The colours of a picture."""

from dataclasses import dataclass

from observability.boards.model import Colour

# Told apart by people who do not see red and green as different, as far as eight hues can be; both themes bear them.
_SERIES = (
    "#5b9bf5",
    "#f2b53a",
    "#4fc08d",
    "#e8677c",
    "#a783e8",
    "#3fbfcf",
    "#f08a4b",
    "#9aa5b1",
    "#c9d25a",
    "#d97fbf",
    "#6f86d6",
    "#7a9e5f",
)


@dataclass(frozen=True)
class Theme:
    """What each part of a picture is painted with."""

    page: str
    card: str
    edge: str
    text: str
    faint: str
    grid: str
    meaning: dict[str, str]
    series: tuple[str, ...] = _SERIES

    def of_series(self, number: int) -> str:
        """Give the colour of the *number*-th line of a panel; after the last they begin anew."""
        return self.series[number % len(self.series)]


THEMES = {
    "dark": Theme(
        page="#0f1217",
        card="#181c23",
        edge="#262c36",
        text="#dfe3e8",
        faint="#8b95a3",
        grid="#2a313c",
        meaning={Colour.GOOD: "#4fc08d", Colour.NOTICE: "#f2b53a", Colour.BAD: "#f2596b"},
    ),
    "light": Theme(
        page="#f3f5f8",
        card="#ffffff",
        edge="#dde2ea",
        text="#1f2733",
        faint="#6b7686",
        grid="#e6eaf0",
        meaning={Colour.GOOD: "#1f8a5b", Colour.NOTICE: "#b97a06", Colour.BAD: "#cf2e45"},
    ),
}
