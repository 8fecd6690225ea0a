"""The charts are what `helm install` from a registry expects: linted, packaged, of the project's version."""

import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.charts.rendering import CHARTS, ROOT, run_helm
from tests.charts.scenarios import charts, scenarios

HELMS = ("helm", "helm3")


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("chart", charts())
def test_a_linter_finds_nothing(chart: str, helm: str) -> None:
    """With the defaults and with every values file; a warning counts."""
    for scenario in scenarios(chart):
        values = [f"--values={path}" for path in scenario.values]
        answer = run_helm("lint", "--strict", "--quiet", str(CHARTS / chart), *values, helm=helm)
        assert "[ERROR]" not in answer + "[WARNING]", answer
        assert "[WARNING]" not in answer, answer


@pytest.mark.parametrize("chart", charts())
def test_versions_are_the_projects(chart: str) -> None:
    """The chart's default image is the one that was built with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    description = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())

    assert description["version"] == project["version"]
    assert description["name"] == chart
    if chart == "telemed":
        assert description["appVersion"] == project["version"]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("chart", charts())
def test_a_package_holds_what_is_needed_and_nothing_else(chart: str, helm: str, tmp_path: Path) -> None:
    """Everything that templates read is in it; editors' files and our own checks are not."""
    run_helm("package", str(CHARTS / chart), "--destination", str(tmp_path), helm=helm)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    with tarfile.open(tmp_path / f"{chart}-{version}.tgz") as package:
        packed = {name.removeprefix(f"{chart}/") for name in package.getnames()}

    folder = CHARTS / chart
    kept = {
        str(path.relative_to(folder))
        for part in ("templates", "files", "rules", "dashboards")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    described = {name for name in ("values.schema.json", "README.md") if (folder / name).exists()}
    expected = kept | described | {"Chart.yaml", "values.yaml"}
    assert expected - packed == set()
    assert {name for name in packed - expected if not name.startswith("examples/")} <= {".helmignore"}


@pytest.mark.parametrize("chart", charts())
def test_a_chart_asks_for_a_kubernetes_that_knows_its_fields(chart: str) -> None:
    """An older one would refuse a field, half-way through an installation; Helm says so before it.

    Proven is 1.34 to 1.37. All fields are known from 1.31 on, and Helm 3.17 without a cluster takes itself for 1.32.
    """
    description = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())

    # With -0, or the versions of managed clusters (v1.34.2-gke.5) would count as older.
    assert description["kubeVersion"] == ">=1.31.0-0"
    assert description["apiVersion"] == "v2"
    assert description["type"] == "application"
