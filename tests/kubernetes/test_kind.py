"""k8s/kind/up.sh plans what can be done: every file exists, every chart takes its values, every version is exact."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.rendering import parse, render_objects, run_helm
from tests.kubernetes.admission import Server, built, of_kind
from tests.kubernetes.scripts import decoded
from tests.kubernetes.test_secrets import printed

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]
KIND = ROOT / "k8s" / "kind"


def call(*arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    # Without the environment of whoever tests: a dry run needs no Docker and no cluster.
    return subprocess.run(
        ["/bin/sh", str(KIND / "up.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": path},
        cwd="/",
    )


@pytest.fixture(scope="module")
def plan() -> list[list[str]]:
    """The commands, in their order."""
    answer = call("--dry-run")
    assert (answer.returncode, answer.stderr) == (0, "")
    # What a dry run cannot know stands in parentheses.
    lines = [re.sub(r"\([^)]*\)", "unknown", line) for line in answer.stdout.splitlines() if line.startswith("+ ")]
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture(scope="module")
def versions() -> dict[str, str]:
    lines = [line for line in (KIND / "versions.env").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def installs(plan: list[list[str]]) -> dict[str, list[str]]:
    return {command[command.index("--install") + 1]: command for command in plan if "--install" in command}


def test_everything_comes_before_what_needs_it(plan: list[list[str]]) -> None:
    """Cluster, operators, image, namespaces, Secrets, database, application, test."""
    text = [" ".join(command) for command in plan]
    words = [
        "kind create cluster",
        "cnpg-",
        "gateway-helm",
        "make image",
        "kind load",
        "--kustomize k8s/kind",
        "k8s/secrets.sh",
        "charts/telemed-data ",
        "cluster/telemed-data",
        "charts/telemed ",
        " test telemed",
    ]
    places = [next(number for number, line in enumerate(text) if word in line) for word in words]
    assert places == sorted(places)


def test_nothing_is_asked_of_another_cluster(plan: list[list[str]]) -> None:
    """Whatever kubectl's context is, only the cluster that was made is touched."""
    for command in plan:
        if command[0] in {"kubectl", "k8s/secrets.sh"}:
            assert option(command, "--context") == "kind-telemed"
        if command[0] == "helm":
            assert option(command, "--kube-context") == "kind-telemed"
    other = call("--dry-run", "--name", "other")
    assert "kind-telemed" not in other.stdout
    assert "--context kind-other" in other.stdout


def test_files_are_there(plan: list[list[str]]) -> None:
    """Charts, values, configuration, scripts."""
    named = {word for command in plan for word in command if re.match(r"(k8s|charts)/", word)}
    assert len(named) >= 6
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("chart", ["telemed", "telemed-data"])
def test_the_charts_take_their_values(plan: list[list[str]], chart: str) -> None:
    """And the API server takes what comes out, with the policies of the overlay."""
    command = installs(plan)[chart]
    values = option(command, "--values")
    assert option(command, "--namespace") == chart == (ROOT / f"charts/{chart}").name
    text = run_helm(
        "template", chart, str(ROOT / "charts" / chart), "--namespace", chart, "--values", str(ROOT / values)
    )
    server = Server("local")
    for manifest in parse(text):
        assert server.refusals(manifest, chart) == []


def test_every_secret_that_is_asked_for_is_made(plan: list[list[str]]) -> None:
    """A pod that misses one waits for ever; a login without one cannot be made."""
    made = decoded(printed())
    asked = set()
    for chart, command in installs(plan).items():
        if chart in {"telemed", "telemed-data"}:
            values = ROOT / option(command, "--values")
            asked |= {(chart, *reference) for each in render_objects(chart, values) for reference in references(each)}
    assert {name for _, name, _ in asked} >= {
        "telemed-database",
        "telemed-cache",
        "telemed-owner",
        "telemed-signing-key",
    }
    for namespace, name, key in asked:
        assert (namespace, name) in made
        assert key is None or key in made[namespace, name]


def references(part: Any) -> Iterator[tuple[str, str | None]]:
    """Yield the Secrets that an object names, and the keys of them."""
    if isinstance(part, list):
        for each in part:
            yield from references(each)
    if not isinstance(part, dict):
        return
    for field, value in part.items():
        if field == "secretKeyRef":
            yield value["name"], value["key"]
        elif field == "secretName":
            yield value, None
        elif field in {"passwordSecret", "secret"} and isinstance(value, dict) and "name" in value:
            yield value["name"], None
        else:
            yield from references(value)


def test_versions_are_exact_and_in_one_place(plan: list[list[str]], versions: dict[str, str]) -> None:
    """What was tried is what is fetched."""
    for name, version in versions.items():
        assert re.search(r"\d+\.\d+\.\d+$", version), name
        assert any(version in word for command in plan for word in command), name
    chart = yaml.safe_load((ROOT / "charts/telemed/Chart.yaml").read_text())
    values = yaml.safe_load((ROOT / "charts/telemed/values.yaml").read_text())
    assert versions["IMAGE"] == f"{values['image']['repository']}:{chart['appVersion']}"
    script = (KIND / "up.sh").read_text()
    assert not re.search(r"\d+\.\d+\.\d+", script.replace("127.0.0.1", ""))


def test_the_way_in_leads_through() -> None:
    """From this machine's port to the node's, to the proxy's Service, to the Gateway, to the route."""
    [node, *_] = yaml.safe_load((KIND / "cluster.yaml").read_text())["nodes"]
    [mapping] = node["extraPortMappings"]
    assert mapping["listenAddress"] == "127.0.0.1"
    assert f"https://localhost:{mapping['hostPort']}" in (KIND / "up.sh").read_text()
    objects = built("kind")
    [proxy] = of_kind(objects, "EnvoyProxy").values()
    service = proxy["spec"]["provider"]["kubernetes"]["envoyService"]
    [port] = service["patch"]["value"]["spec"]["ports"]
    assert port["nodePort"] == mapping["containerPort"]
    gateway = of_kind(objects, "Gateway")["telemed"]
    [class_name] = of_kind(objects, "GatewayClass")
    assert gateway["spec"]["gatewayClassName"] == class_name
    [listener] = [each for each in gateway["spec"]["listeners"] if each["protocol"] == "HTTPS"]
    assert listener["port"] == port["port"]
    route = yaml.safe_load((KIND / "telemed.yaml").read_text())["route"]
    assert route["hostnames"] == [listener["hostname"]]
    [parent] = route["parentRefs"]
    assert parent == {
        "name": gateway["metadata"]["name"],
        "namespace": gateway["metadata"]["namespace"],
        "sectionName": listener["name"],
    }


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """In one sentence, before anything is made."""
    # A machine that has Docker and kind must not get a cluster from its tests.
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    answer = call(path=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr == "k8s/kind/up.sh: docker is needed and is not on PATH.\n"
    answer = call("--dry")
    assert answer.returncode == 1
    assert "There is no option --dry;" in answer.stderr
