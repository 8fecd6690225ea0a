"""Every folder of k8s/ that kustomize can build gives objects that every promised Kubernetes takes."""

import functools
import subprocess
from pathlib import Path

import pytest
from tests.charts.programs import program
from tests.charts.rendering import KUBERNETES, ROOT, Object, parse
from tests.charts.scenarios import charts, scenarios
from tests.charts.strictness import faults

FOLDERS = sorted(path.parent for path in (ROOT / "k8s").rglob("kustomization.yaml"))
OVERLAYS = {"local", "staging", "production"}


@functools.cache
def build(folder: Path) -> str:
    """Build without a network and without programs that a folder could ask kustomize to run."""
    answer = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)], check=False, capture_output=True, text=True, timeout=60
    )
    # Kustomize warns of fields that will be gone.
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_folder_is_valid_in_every_promised_version(folder: Path) -> None:
    """No unknown field, no other type, no kind without a schema."""
    manifests = parse(build(folder))

    assert manifests
    for kubernetes in KUBERNETES:
        assert [fault for manifest in manifests for fault in faults(manifest, kubernetes)] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_folder_is_built_the_same_each_time(folder: Path) -> None:
    """What is compared with a cluster must not change by itself."""
    assert build.__wrapped__(folder) == build(folder)


def test_every_environment_has_its_overlay() -> None:
    """Local, staging and production."""
    assert {path.name for path in FOLDERS if path.parent.name == "overlays"} >= OVERLAYS


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_nothing_that_a_chart_owns_is_made_a_second_time(folder: Path) -> None:
    """Two owners of one object take it from each other at every apply."""
    owned = {_identity(manifest) for chart in charts() for manifest in scenarios(chart)[0].objects()}

    assert owned & {_identity(manifest) for manifest in parse(build(folder))} == set()


def _identity(manifest: Object) -> tuple[str, str, str, str]:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]
