"""What the charts rendered when a version was released, and the values that it was rendered from.

`make charts-release` writes the folder of the version in pyproject.toml; those of older versions are what people have
installed, and are not touched again. Tests compare them with what the charts render from the same values now.
"""

import json
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.charts.rendering import ROOT, Object, parse, render
from tests.charts.scenarios import Scenario, charts, scenarios

RELEASED = Path(__file__).parent / "released"
# Few, and such that every kind that cannot be changed at will is among them.
KEPT = {
    "telemed": {"defaults", "example-production", "example-gitops", "everything-on", "longest-release-name"},
    "telemed-data": {"defaults", "example-local", "example-production", "cache-cluster", "cache-sentinel"},
    "telemed-observability": {"defaults"},
}


@dataclass(frozen=True)
class Release:
    """One installation, as a version of a chart rendered it."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder.relative_to(RELEASED))

    def before(self) -> list[Object]:
        """Return what was installed."""
        return parse((self.folder / "rendered.yaml").read_text())

    def after(self) -> list[Object]:
        """Return what an upgrade with the same values would install."""
        options: dict[str, Any] = json.loads((self.folder / "options.json").read_text())
        options["api_versions"] = tuple(options.get("api_versions", ()))
        values = sorted(self.folder.glob("values-*.yaml"))
        return parse(render(self.folder.parent.name, *values, **{**options, "is_upgrade": True}))


def releases() -> list[Release]:
    """Return everything that was ever released."""
    return [Release(path.parent) for path in sorted(RELEASED.glob("*/*/*/rendered.yaml"))]


def version() -> str:
    """Return the version that is being made."""
    text: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return text


def write() -> Path:
    """Write the folder of this version, all of it; return it."""
    folder = RELEASED / version()
    shutil.rmtree(folder, ignore_errors=True)
    for chart in charts():
        for scenario in scenarios(chart):
            if scenario.name in KEPT.get(chart, ()):
                _write(scenario, folder / chart / scenario.name)
    return folder


def _write(scenario: Scenario, folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, values in enumerate(scenario.values):
        shutil.copy(values, folder / f"values-{number}.yaml")
    (folder / "options.json").write_text(json.dumps(scenario.options) + "\n")
    # Without comments and in one order: what is left are the objects.
    ordered = sorted(scenario.objects(), key=lambda each: (each["kind"], each["metadata"]["name"]))
    (folder / "rendered.yaml").write_text(yaml.safe_dump_all(ordered, width=120, allow_unicode=True))


if __name__ == "__main__":
    print(f"Wrote {write().relative_to(ROOT)}.")  # noqa: T201 - this is a program
