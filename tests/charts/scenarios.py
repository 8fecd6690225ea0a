"""The installations that every check of the charts looks at: the examples that the charts ship, and odd but legal ones.

Each is a file of values: charts/<chart>/examples/*.yaml, and scenarios/<chart>/*.yaml here, whose first line says what
is odd about it. What is no value (the release's name, …) stands in `_OPTIONS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.charts.rendering import CHARTS, NEWEST, Object, parse, render

HERE = Path(__file__).parent / "scenarios"
LONGEST_RELEASE = "a-release-name-as-long-as-helm-allows-it-" + "x" * 12  # 53 characters

# By the name of the scenario, the options of `render`.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "telemed/longest-release-name": {"release": LONGEST_RELEASE},
    "telemed-data/longest-release-name": {"release": LONGEST_RELEASE},
    "telemed-observability/longest-release-name": {"release": LONGEST_RELEASE},
    "telemed/other-release-name": {"release": "prod", "namespace": "care"},
    "telemed/upgraded": {"is_upgrade": True},
    "telemed/everything-on": {"api_versions": ("keda.sh/v1alpha1", "gateway.networking.k8s.io/v1")},
}


@dataclass(frozen=True)
class Scenario:
    """A chart with values, as somebody might install it."""

    chart: str
    name: str
    values: tuple[Path, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.chart}/{self.name}"

    def render(self, *, kubernetes: str = NEWEST, **options: Any) -> str:
        """Render it; *options* override its own."""
        return render(self.chart, *self.values, kubernetes=kubernetes, **{**self.options, **options})

    def objects(self, *, kubernetes: str = NEWEST, **options: Any) -> list[Object]:
        """Render it and parse that."""
        return parse(self.render(kubernetes=kubernetes, **options))


def charts() -> list[str]:
    """Return the names of the charts."""
    return sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml"))


def scenarios(chart: str) -> list[Scenario]:
    """Return the scenarios of a chart: its defaults, its examples, and ours."""
    files = [*sorted((CHARTS / chart / "examples").glob("*.yaml")), *sorted((HERE / chart).glob("*.yaml"))]
    names = ["defaults", *(f"example-{file.stem}" if "examples" in file.parts else file.stem for file in files)]
    return [
        Scenario(chart, name, values, _OPTIONS.get(f"{chart}/{name}", {}))
        for name, values in zip(names, [(), *((file,) for file in files)], strict=True)
    ]


def all_scenarios() -> list[Scenario]:
    """Return the scenarios of all charts."""
    return [scenario for chart in charts() for scenario in scenarios(chart)]
