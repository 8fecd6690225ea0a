"""Argo CD finds what it is told to bring, brings it in order, and may do no more than that."""

from pathlib import Path

import pytest
import yaml
from tests.kubernetes.admission import Object, built, of_kind

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "k8s" / "gitops"


@pytest.fixture(scope="module")
def applications() -> dict[str, Object]:
    root = yaml.safe_load((GITOPS / "root.yaml").read_text())
    return {**of_kind(built("gitops"), "Application"), root["metadata"]["name"]: root}


def test_argo_cd_finds_everything(applications: dict[str, Object]) -> None:
    """Paths and values are in the repository; charts are installed under their own names, which others count on."""
    for name, application in applications.items():
        source = application["spec"]["source"]
        folder = ROOT / source["path"]
        assert folder.is_dir(), name
        for file in source.get("helm", {}).get("valueFiles", []):
            assert (folder / file).is_file(), (name, file)
        if (folder / "Chart.yaml").exists():
            assert source["helm"]["releaseName"] == folder.name == application["spec"]["destination"]["namespace"]


def test_argo_cd_brings_one_after_the_other(applications: dict[str, Object]) -> None:
    """What the charts need comes before them, the database before who uses it."""
    root = applications.pop("telemed-root")
    assert ROOT / root["spec"]["source"]["path"] == GITOPS
    waves = {
        name: int(a["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for name, a in applications.items()
    }
    order = sorted(waves, key=lambda name: waves[name])
    assert order == ["telemed-platform", "telemed-data", "telemed-observability", "telemed"]
    [project] = of_kind(built("gitops"), "AppProject").values()
    assert int(project["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) < min(waves.values())


def test_argo_cd_may_do_what_it_is_told_and_no_more(applications: dict[str, Object]) -> None:
    """The project lists exactly the cluster-wide kinds and the namespaces that are needed."""
    [project] = of_kind(built("gitops"), "AppProject").values()
    objects = built("overlays/production")
    spread = {"Namespace", "PriorityClass", "ClusterSecretStore"} | {
        each["kind"] for each in objects if each["kind"].startswith("ValidatingAdmissionPolicy")
    }
    wide = {each["kind"] for each in objects if "namespace" not in each["metadata"]}
    assert wide == spread == {each["kind"] for each in project["spec"]["clusterResourceWhitelist"]}
    used = {each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]}
    allowed = {each["namespace"] for each in project["spec"]["destinations"]}
    assert (
        used | {a["spec"]["destination"]["namespace"] for n, a in applications.items() if n != "telemed-root"}
        == allowed
    )


def test_no_data_is_deleted_by_a_sync(applications: dict[str, Object]) -> None:
    """A file that moved must not take the database with it."""
    for name in ("telemed-data", "telemed-platform"):
        assert applications[name]["spec"]["syncPolicy"]["automated"]["prune"] is False
