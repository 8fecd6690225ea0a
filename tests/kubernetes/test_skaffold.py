"""Every profile of skaffold.yaml names what exists, and its values become objects that the local cluster takes."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.charts.rendering import Object, parse, run_helm
from tests.kubernetes.admission import Server, of_kind
from tests.kubernetes.skaffold import Config, configs, profile_names

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]
USES = [(), ("dev",), ("full",), ("full", "verify"), ("ci",)]
TAG = "0123abcd"


def rendered(config: Config) -> list[Object]:
    """What the release of a configuration becomes, of the image that was built."""
    [release] = config["deploy"]["helm"]["releases"]
    values = [f"--values={ROOT / file}" for file in release["valuesFiles"]]
    sets = []
    for key, template in release.get("setValueTemplates", {}).items():
        image = re.sub(r"[^a-zA-Z0-9]", "_", config["build"]["artifacts"][0]["image"])
        text = template.replace(f"{{{{.IMAGE_REPO_{image}}}}}", config["build"]["artifacts"][0]["image"])
        text = text.replace(f"{{{{.IMAGE_TAG_{image}}}}}", TAG)
        assert "{{" not in text, key
        sets.append(f"--set-string={key}={text}")
    chart = str(ROOT / release["chartPath"])
    return parse(run_helm("template", release["name"], chart, f"--namespace={release['namespace']}", *values, *sets))


@pytest.mark.parametrize("profiles", USES, ids=lambda names: "-".join(names) or "none")
def test_the_local_cluster_takes_every_profile(profiles: tuple[str, ...]) -> None:
    """Also its policies."""
    server = Server("local")
    for config in configs(*profiles).values():
        [release] = config["deploy"]["helm"]["releases"]
        objects = rendered(config)
        assert objects
        for each in objects:
            assert server.refusals(each, release["namespace"]) == []


@pytest.mark.parametrize("profiles", USES, ids=lambda names: "-".join(names) or "none")
def test_the_built_image_is_what_runs(profiles: tuple[str, ...]) -> None:
    """In services, worker, migration and test."""
    config = configs(*profiles)["telemed"]
    [artifact] = config["build"]["artifacts"]
    templates = [
        o["spec"].get("template", o)["spec"] for o in rendered(config) if o["kind"] in {"Deployment", "Job", "Pod"}
    ]
    assert len(templates) >= 3
    for template in templates:
        assert [c["image"] for c in template["containers"]] == [f"{artifact['image']}:{TAG}"]


@pytest.mark.parametrize("profiles", USES, ids=lambda names: "-".join(names) or "none")
def test_what_is_forwarded_is_there(profiles: tuple[str, ...]) -> None:
    """Services of the release, on different ports of this machine."""
    config = configs(*profiles)["telemed"]
    services = of_kind(rendered(config), "Service")
    for forward in config["portForward"]:
        ports = services[forward["resourceName"]]["spec"]["ports"]
        assert forward["port"] in [port["port"] for port in ports]
    local = [forward["localPort"] for forward in config["portForward"]]
    assert len(set(local)) == len(local)


def test_paths_and_targets_exist() -> None:
    """Dockerfile, its targets, charts, values, and what the hooks call."""
    targets = set(re.findall(r"^FROM .* AS (\w+)$", (ROOT / "services" / "Dockerfile").read_text(), re.MULTILINE))
    for profiles in USES:
        for config in configs(*profiles).values():
            for artifact in config.get("build", {}).get("artifacts", []):
                assert artifact["docker"]["target"] in targets
                assert (ROOT / artifact["docker"]["dockerfile"]).is_file()
            for release in config["deploy"]["helm"]["releases"]:
                assert (ROOT / release["chartPath"] / "Chart.yaml").is_file()
                assert all((ROOT / file).is_file() for file in release["valuesFiles"])
            for command in commands(config):
                for path in re.findall(r"\bk8s/[\w./-]+", command):
                    assert (ROOT / path).exists(), path


def commands(config: Config) -> list[str]:
    hooks = config["deploy"]["helm"].get("hooks", {})
    return [hook["host"]["command"][-1] for when in ("before", "after") for hook in hooks.get(when, [])]


def test_hooks_touch_no_other_cluster() -> None:
    """Skaffold says which it deploys to; kubectl's own context may be production's."""
    seen = [command for config in configs("full", "verify").values() for command in commands(config)]
    assert len(seen) == 4
    for command in seen:
        assert re.search(r'--(kube-)?context "\$SKAFFOLD_KUBE_CONTEXT"', command)
        assert subprocess.run(["/bin/sh", "-n", "-c", command], check=False).returncode == 0


def test_develop_is_one_process_that_reloads() -> None:
    """The dev image, everything in one component, code copied to where the reloader looks, on port 3000."""
    config = configs("dev")["telemed"]
    [artifact] = config["build"]["artifacts"]
    assert artifact["docker"]["target"] == "dev"
    [rule] = artifact["sync"]["manual"]
    dockerfile = (ROOT / "services" / "Dockerfile").read_text()
    assert f"COPY --chown=10001:10001 services {rule['dest']}/services" in dockerfile
    assert f'ENTRYPOINT ["python", "{rule["dest"]}/services/image/reload.py"]' in dockerfile
    # With the folders above, from the root of the checkout.
    assert rule["src"].startswith("services/telemed/")
    assert "strip" not in rule
    deployments = of_kind(rendered(config), "Deployment")
    assert set(deployments) == {"telemed-all", "telemed-worker"}
    [container] = deployments["telemed-all"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["serve", "all"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is False
    assert container["livenessProbe"]["failureThreshold"] >= 3600
    assert [forward["localPort"] for forward in config["portForward"]] == [3000]


def test_full_has_replicas_and_reads_from_them() -> None:
    """The others have one instance, and ask nobody else."""
    for profiles, instances in (((), 1), (("dev",), 1), (("full",), 3)):
        found = configs(*profiles)
        [cluster] = of_kind(rendered(found["data"]), "Cluster").values()
        assert cluster["spec"]["instances"] == instances
        poolers = {pooler["spec"]["type"] for pooler in of_kind(rendered(found["data"]), "Pooler").values()}
        assert ("ro" in poolers) == (instances > 1)
        for name, deployment in of_kind(rendered(found["telemed"]), "Deployment").items():
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            variables = {variable["name"] for variable in container["env"]}
            assert ("REPLICA_DATABASE_URLS" in variables) == (instances > 1), name


def test_the_database_is_there_first() -> None:
    """Namespaces and Secrets before it; the application after it is ready."""
    found = configs()
    assert found["telemed"]["requires"] == [{"configs": ["data"]}]
    first, second, last = commands(found["data"])
    assert "apply --server-side --kustomize k8s/overlays/local" in first
    assert "k8s/secrets.sh" in second
    assert "wait cluster/telemed-data" in last


def test_the_test_of_the_chart_is_run_where_it_is_asked_for() -> None:
    """By `verify` and `ci`."""
    assert profile_names() == {"dev", "full", "ci", "verify"}
    for profiles, is_run in ((("dev",), False), (("full",), False), (("full", "verify"), True), (("ci",), True)):
        asked = [command for command in commands(configs(*profiles)["telemed"]) if "test telemed" in command]
        assert bool(asked) == is_run
