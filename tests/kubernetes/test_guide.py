"""README's commands for Kubernetes name what exists, and install what the local cluster takes."""

import re
import shlex
from pathlib import Path

import pytest
from tests.charts.rendering import parse, run_helm
from tests.kubernetes.admission import Server, of_kind

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def section() -> str:
    text = (ROOT / "README.md").read_text()
    match = re.search(r"^## Kubernetes$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert match
    return match.group(1)


@pytest.fixture(scope="module")
def commands(section: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def test_paths_are_there(section: str) -> None:
    """In commands and in sentences."""
    found = set(re.findall(r"\b((?:k8s|charts|docs)/[\w./-]*\w)", section))
    assert len(found) >= 12
    for path in found:
        assert (ROOT / path).exists(), path


def test_the_cluster_takes_what_the_guide_installs(commands: list[list[str]]) -> None:
    """Both releases, in their namespaces, with the names that later lines use."""
    server = Server("local")
    installs = [command for command in commands if command[:3] == ["helm", "upgrade", "--install"]]
    assert [command[3] for command in installs] == ["telemed-data", "telemed"]
    for _, _, _, release, chart, *options in installs:
        kept = [word for word in options if word != "--wait"]
        if "--timeout" in kept:
            place = kept.index("--timeout")
            del kept[place : place + 2]
        full = [str(ROOT / word) if word.startswith("charts/") else word for word in kept]
        objects = parse(run_helm("template", release, str(ROOT / chart), *full))
        namespace = options[options.index("-n") + 1]
        for manifest in objects:
            assert server.refusals(manifest, namespace) == []
        deployments = of_kind(objects, "Deployment")
        if release == "telemed":
            assert "telemed-auth" in deployments
            image = deployments["telemed-auth"]["spec"]["template"]["spec"]["containers"][0]["image"]
            assert [command for command in commands if command[:3] == ["make", "image", f"IMAGE={image}"]]
        else:
            assert set(of_kind(objects, "Cluster")) == {"telemed-data"}
