"""The load's Jobs are objects that every promised Kubernetes takes, restricted and bounded."""

import functools
import subprocess

import pytest
from tests.charts.programs import program
from tests.charts.rendering import KUBERNETES, ROOT, Object, parse
from tests.charts.strictness import faults

from telemed_load.profile import load_profile

FOLDER = ROOT / "load-tests" / "kubernetes"


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


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_promised_version_takes_them(kubernetes: str) -> None:
    """No unknown field, no other type."""
    assert [fault for one in objects() for fault in faults(one, kubernetes)] == []


@pytest.mark.parametrize("job", ["telemed-load-leader", "telemed-load-workers"])
def test_a_pod_is_restricted(job: str) -> None:
    """As the namespace demands, and it writes nowhere but into bounded folders."""
    pod = jobs()[job]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
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
    (container,) = spec["template"]["spec"]["containers"]

    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert load_profile("soak")[0].seconds * 1.2 < spec["activeDeadlineSeconds"] < 2 * 3600
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


def test_the_dockerfile_has_no_faults() -> None:
    """Hadolint, as for the platform's own."""
    answer = subprocess.run(
        [program("hadolint"), str(FOLDER / "Dockerfile")], check=False, capture_output=True, text=True
    )

    assert (answer.returncode, answer.stdout) == (0, "")
