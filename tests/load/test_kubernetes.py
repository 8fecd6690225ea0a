"""The load's Jobs are objects that every promised Kubernetes takes, restricted and bounded."""

import functools
import subprocess

import pytest
from tests.charts.programs import program
from tests.charts.rendering import KUBERNETES, ROOT, Object, parse, render_objects
from tests.charts.strictness import faults

from telemed_load.profile import load_profile

FOLDER = ROOT / "load-tests" / "kubernetes"
KIND = ROOT / "k8s" / "kind" / "telemed.yaml"


@functools.cache
def objects() -> tuple[Object, ...]:
    """Build without a network."""
    answer = subprocess.run(
        [program("kubectl"), "kustomize", str(FOLDER)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    return tuple(parse(answer.stdout))


def jobs() -> dict[str, Object]:
    return {one["metadata"]["name"]: one["spec"] for one in objects() if one["kind"] == "Job"}


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_promised_version_takes_them(kubernetes: str) -> None:
    """No unknown field, no other type."""
    assert [fault for one in objects() for fault in faults(one, kubernetes)] == []


@pytest.mark.parametrize("job", ["telemed-load-leader", "telemed-load-workers"])
def test_a_pod_is_restricted(job: str) -> None:
    """As the namespace demands, and it writes nowhere but into bounded folders."""
    pod = jobs()[job]["template"]["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    (namespace,) = (one for one in objects() if one["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("job", ["telemed-load-leader", "telemed-load-workers"])
def test_a_job_is_bounded(job: str) -> None:
    """In time and room, and never tried again by itself; the longest profile fits."""
    spec = jobs()[job]

    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert load_profile("soak")[0].seconds * 1.2 < spec["activeDeadlineSeconds"] < 2 * 3600
    for container in containers(spec["template"]["spec"]):
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_the_leader_expects_as_many_workers_as_there_are() -> None:
    """One number, in one place."""
    workers = jobs()["telemed-load-workers"]
    (leader,) = jobs()["telemed-load-leader"]["template"]["spec"]["containers"]
    expected = {one["name"]: one["value"] for one in leader["env"]}["WORKERS"]

    assert workers["completions"] == workers["parallelism"] == int(expected)


def test_workers_find_the_leader() -> None:
    """By the Service's name, on the port that the policy lets through."""
    (worker,) = jobs()["telemed-load-workers"]["template"]["spec"]["containers"]
    services = {one["metadata"]["name"]: one["spec"] for one in objects() if one["kind"] == "Service"}
    leader = services["telemed-load-leader"]

    assert "--master-host=telemed-load-leader" in worker["command"]
    assert leader["selector"].items() <= jobs()["telemed-load-leader"]["template"]["metadata"]["labels"].items()
    assert [port["port"] for port in leader["ports"]] == [5557]


def test_the_services_that_are_asked_for_metrics_are_there() -> None:
    """Each of the leader's addresses is a headless Service of the platform's pods."""
    (leader,) = jobs()["telemed-load-leader"]["template"]["spec"]["containers"]
    asked = {one.partition("dns+http://")[2].partition(".")[0] for one in leader["args"] if "--metrics" in one}
    headless = {
        one["metadata"]["name"]
        for one in objects()
        if one["kind"] == "Service" and one["spec"]["clusterIP"] == "None" and one["metadata"]["namespace"] == "telemed"
    }

    assert asked == headless != set()


def test_the_route_is_the_applications() -> None:
    """Each path goes where the chart's own route sends it, and may: the other namespace grants it."""
    (theirs,) = (one for one in render_objects("telemed", KIND) if one["kind"] == "HTTPRoute")
    (ours,) = (one for one in objects() if one["kind"] == "HTTPRoute")
    (granted,) = (one for one in objects() if one["kind"] == "ReferenceGrant")

    def ways(route: Object) -> set[tuple[str, str, int]]:
        return {
            (match["path"]["value"], backend["name"], backend["port"])
            for rule in route["spec"]["rules"]
            for match in rule["matches"]
            for backend in rule["backendRefs"]
        }

    assert ways(ours) == ways(theirs)
    assert {one["namespace"] for rule in ours["spec"]["rules"] for one in rule["backendRefs"]} == {"telemed"}
    assert granted["metadata"]["namespace"] == "telemed"
    assert [one["namespace"] for one in granted["spec"]["from"]] == [ours["metadata"]["namespace"]]


def test_the_requests_go_to_the_gateways_service() -> None:
    """The name that the Jobs are told is the one that the controller is told to give."""
    proxies = {one["metadata"]["name"]: one["spec"] for one in objects() if one["kind"] == "EnvoyProxy"}
    (gateway,) = (one["spec"] for one in objects() if one["kind"] == "Gateway")
    (route,) = (one["spec"] for one in objects() if one["kind"] == "HTTPRoute")
    (told,) = (one["data"]["URL"] for one in objects() if one["kind"] == "ConfigMap")

    service = proxies[gateway["infrastructure"]["parametersRef"]["name"]]["provider"]["kubernetes"]["envoyService"]
    assert told == f"http://{service['name']}.envoy-gateway-system"
    assert told == f"http://{route['hostnames'][0]}"


def test_the_leader_is_let_through_to_the_database() -> None:
    """Which denies everybody else: the same pods as the chart's own policy, on the port of the owner's address."""
    (theirs,) = (one["spec"] for one in render_objects("telemed-data") if policy_of(one) == "telemed-data-postgres")
    (ours,) = (one["spec"] for one in objects() if policy_of(one) == "telemed-load-database")
    labels = jobs()["telemed-load-leader"]["template"]["metadata"]["labels"]
    (rule,) = ours["ingress"]
    (peer,) = rule["from"]

    assert ours["podSelector"] == theirs["podSelector"]
    assert rule["ports"] == [{"port": 5432, "protocol": "TCP"}]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "telemed-load"}


def policy_of(one: Object) -> str | None:
    return one["metadata"]["name"] if one["kind"] == "NetworkPolicy" else None


def test_the_dockerfile_has_no_faults() -> None:
    """Hadolint, as for the platform's own."""
    answer = subprocess.run(
        [program("hadolint"), str(FOLDER / "Dockerfile")], check=False, capture_output=True, text=True
    )

    assert (answer.returncode, answer.stdout) == (0, "")
