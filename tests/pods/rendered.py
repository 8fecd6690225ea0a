"""What the kubelet is told: the parts of a rendered pod that decide how its process starts, is watched and ends.

Nothing here has a default of ours. A field that the chart leaves out has the one of Kubernetes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.charts.rendering import Object, render_objects

Secrets = Mapping[str, Mapping[str, str]]  # by name, then by key; ConfigMaps as well
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")  # to a variable, in a command or an argument


@dataclass(frozen=True)
class Image:
    """What an image says of itself, with its folders where they are in the checkout."""

    entry_point: tuple[str, ...]
    python_path: tuple[str, ...]
    work_folder: str = "/"


SERVICES = Image(("telemed",), ("services",))  # services/Dockerfile
LOAD = Image(("python", "-m", "telemed_load"), ("load-tests", "services"), ".")  # load-tests/kubernetes/Dockerfile


@dataclass(frozen=True)
class Probe:
    """One probe, with Kubernetes' defaults for what is not said."""

    path: str
    port: str
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int

    @classmethod
    def of(cls, probe: Object) -> "Probe":
        """Read it."""
        asked = probe["httpGet"]
        return cls(
            asked["path"],
            str(asked["port"]),
            float(probe.get("periodSeconds", 10)),
            float(probe.get("timeoutSeconds", 1)),
            int(probe.get("failureThreshold", 3)),
        )


@dataclass(frozen=True)
class PodTemplate:
    """A pod as rendered, with one container of ours."""

    spec: Object
    image: Image = SERVICES

    @property
    def container(self) -> Object:
        """Give our container."""
        found: Object = self.spec["containers"][0]
        return found

    @property
    def before(self) -> "list[PodTemplate]":
        """Give what runs to its end before it: its init containers, each as a pod of its own."""
        return [replace(self, spec=self.spec | {"containers": [one]}) for one in self.spec.get("initContainers", ())]

    def command(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Give what is executed: the image's entry point, unless the chart says otherwise, and the arguments."""
        words = (*(self.container.get("command") or self.image.entry_point), *self.container.get("args", ()))
        return tuple(_REFERENCE.sub(lambda found: environment.get(found[1], found[0]), word) for word in words)

    @property
    def grace_seconds(self) -> float:
        """Give how long it may take from its deletion to its end."""
        return float(self.spec.get("terminationGracePeriodSeconds", 30))

    @property
    def pre_stop_seconds(self) -> float:
        """Give how long the kubelet waits before SIGTERM."""
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        assert set(hook) <= {"sleep"}, f"only a sleep can be played here, not {hook}"
        return float(hook.get("sleep", {}).get("seconds", 0))

    @property
    def user(self) -> int:
        """Give the number of the user that it runs as."""
        merged = self.spec.get("securityContext", {}) | self.container.get("securityContext", {})
        return int(merged["runAsUser"])

    def probe(self, kind: str) -> Probe | None:
        """Give the `startup`, `readiness` or `liveness` probe."""
        probe = self.container.get(f"{kind}Probe")
        return Probe.of(probe) if probe else None

    def port(self, name: str) -> int:
        """Give the number of a named port."""
        return int(next(port["containerPort"] for port in self.container["ports"] if port["name"] == name))

    def environment(self, secrets: Secrets) -> dict[str, str]:
        """Resolve the environment as the kubelet does.

        Raises:
            LookupError: a Secret or a key of it is missing: the pod does not start.
        """
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            found |= secrets[source["configMapRef"]["name"]]
        for variable in self.container.get("env", ()):
            if "value" in variable:
                found[variable["name"]] = str(variable["value"])
                continue
            wanted = variable["valueFrom"]["secretKeyRef"]
            keys = secrets.get(wanted["name"], {})
            if wanted["key"] in keys:
                found[variable["name"]] = keys[wanted["key"]]
            elif not wanted.get("optional", False):
                raise LookupError(f"CreateContainerConfigError: Secret {wanted['name']} has no key {wanted['key']}")
        return found

    def files(self, secrets: Secrets) -> dict[str, str]:
        """Give the files of mounted Secrets, by path."""
        found: dict[str, str] = {}
        sources = {volume["name"]: volume["secret"] for volume in self.spec.get("volumes", ()) if "secret" in volume}
        for mount in self.container.get("volumeMounts", ()):
            if source := sources.get(mount["name"]):
                keys = secrets[source["secretName"]]
                items = source.get("items") or [{"key": key, "path": key} for key in keys]
                found |= {f"{mount['mountPath']}/{item['path']}": keys[item["key"]] for item in items}
        return found

    def writable(self) -> list[str]:
        """Give where it may write: its emptyDirs. Everything else is read-only, or a rule of the chart is broken."""
        empty = {volume["name"] for volume in self.spec.get("volumes", ()) if "emptyDir" in volume}
        assert self.container["securityContext"]["readOnlyRootFilesystem"] is True
        return [mount["mountPath"] for mount in self.container.get("volumeMounts", ()) if mount["name"] in empty]


@dataclass(frozen=True)
class Rollout:
    """How a Deployment replaces its pods."""

    replicas: int
    surge: int
    unavailable: int
    min_ready_seconds: float
    progress_deadline_seconds: float
    template: PodTemplate

    @classmethod
    def of(cls, deployment: Object, replicas: int) -> "Rollout":
        """Read it; *replicas* is what the autoscaler wants, as the chart does not say."""
        spec = deployment["spec"]
        strategy = spec.get("strategy", {}).get("rollingUpdate", {})
        return cls(
            replicas,
            _share(strategy.get("maxSurge", "25%"), replicas, up=True),
            _share(strategy.get("maxUnavailable", "25%"), replicas, up=False),
            float(spec.get("minReadySeconds", 0)),
            float(spec.get("progressDeadlineSeconds", 600)),
            PodTemplate(spec["template"]["spec"]),
        )


def _share(value: int | str, of_replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = of_replicas * int(value.rstrip("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


class Chart:
    """The rendered chart of the application."""

    def __init__(self, *values: Mapping[str, Any], release: str = "telemed") -> None:
        self.objects = render_objects("telemed", *values, release=release)

    def of(self, kind: str, component: str) -> Object:
        """Give the one object of this kind and component."""
        label = "app.kubernetes.io/component"
        (found,) = [
            one
            for one in self.objects
            if one["kind"] == kind and one["metadata"].get("labels", {}).get(label) == component
        ]
        return found

    def rollout(self, component: str) -> Rollout:
        """Give the Deployment of a component, with as many pods as its autoscaler keeps at least."""
        deployment = self.of("Deployment", component)
        scalers = [one for one in self.objects if one["kind"] == "HorizontalPodAutoscaler"]
        name = deployment["metadata"]["name"]
        least = [one["spec"]["minReplicas"] for one in scalers if one["spec"]["scaleTargetRef"]["name"] == name]
        return Rollout.of(deployment, int(least[0] if least else deployment["spec"]["replicas"]))

    @property
    def migration(self) -> PodTemplate:
        """Give the pod of the migration's Job."""
        (job,) = [one for one in self.objects if one["kind"] == "Job"]
        return PodTemplate(job["spec"]["template"]["spec"])
