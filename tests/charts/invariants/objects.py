"""A rendering as the invariants look at it: objects by kind, and every pod and container that comes of them.

Knows Kubernetes, and nothing of the values that an object was made from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Object = dict[str, Any]  # Any: a Kubernetes object has whatever its kind has
Finding = tuple[Object, str, str]  # the object, where in it, what is wrong

LASTING = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
# Where the template of a pod is, in the kinds that have one.
_TEMPLATES = dict.fromkeys((*LASTING, "Job"), "spec.template") | {"CronJob": "spec.jobTemplate.spec.template"}
CLUSTER_WIDE = {
    "APIService",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "GatewayClass",
    "IngressClass",
    "Namespace",
    "PriorityClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ClusterSecretStore",
    "ClusterIssuer",
}
# Read by programs on a workstation, never sent to a cluster.
NOT_SENT = {"Kustomization"}


def dig(thing: Any, path: str, default: Any = None) -> Any:
    """Follow the dotted *path* through mappings; *default* where it ends early, or in null."""
    for key in path.split("."):
        if not isinstance(thing, Mapping) or thing.get(key) is None:
            return default
        thing = thing[key]
    return thing


def items(thing: Any, path: str) -> list[Any]:
    """Give the list at *path*; empty where there is none."""
    found = dig(thing, path, [])
    return list(found) if isinstance(found, list) else []


def labels_of(thing: Any) -> dict[str, Any]:
    """Give the labels of an object or of a pod's template."""
    return dict(dig(thing, "metadata.labels", {}))


def annotations_of(thing: Any) -> dict[str, Any]:
    """Give the annotations of an object or of a pod's template."""
    return dict(dig(thing, "metadata.annotations", {}))


def name_of(thing: Object) -> str:
    """Give the object's name."""
    return str(dig(thing, "metadata.name", ""))


def called(thing: Object) -> str:
    """Call the object by kind, namespace and name."""
    namespace = dig(thing, "metadata.namespace")
    return f"{thing.get('kind')} {namespace + '/' if namespace else ''}{name_of(thing)}"


def is_hook(thing: Object) -> bool:
    """Tell whether Helm runs it beside the release and not as a part of it."""
    return "helm.sh/hook" in annotations_of(thing)


def is_test(thing: Object) -> bool:
    """Tell whether it belongs to `helm test`."""
    return str(annotations_of(thing).get("helm.sh/hook", "")).split(",")[0] == "test"


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod that *owner* makes. *path* leads to its template there; empty for an object that is a pod itself."""

    owner: Object
    path: str

    @cached_property
    def template(self) -> Object:
        """Give metadata and spec, as the owner writes them."""
        return dict(dig(self.owner, self.path, {})) if self.path else self.owner

    @cached_property
    def spec(self) -> Object:
        return dict(self.template.get("spec") or {})

    @cached_property
    def labels(self) -> dict[str, str]:
        return labels_of(self.template)

    @cached_property
    def annotations(self) -> dict[str, str]:
        return annotations_of(self.template)

    @property
    def namespace(self) -> str:
        return str(dig(self.owner, "metadata.namespace", ""))

    @property
    def is_lasting(self) -> bool:
        """Tell whether it is meant to run for ever."""
        return self.owner["kind"] in LASTING

    def at(self, path: str) -> str:
        """Give the full path of something in the pod."""
        return f"{self.path}.{path}" if self.path else path

    def found(self, path: str, message: str) -> Finding:
        """Say that something is wrong with the pod."""
        return (self.owner, self.at(path), message)

    @cached_property
    def containers(self) -> list["Container"]:
        """Give all containers, those for the start included."""
        return [
            Container(self, dict(spec), f"spec.{field}[{number}]")
            for field in ("initContainers", "containers")
            for number, spec in enumerate(items(self.spec, field))
        ]

    @property
    def main(self) -> "Container":
        """Give the first container: what the pod is for."""
        return next(one for one in self.containers if ".containers" in f".{one.path.removeprefix('spec.')}")

    @cached_property
    def volumes(self) -> dict[str, Object]:
        return {str(volume.get("name")): dict(volume) for volume in items(self.spec, "volumes")}


@dataclass(frozen=True, eq=False)
class Container:
    """One container; *path* leads to it in the pod."""

    pod: Pod
    spec: Object
    path: str

    def found(self, path: str, message: str) -> Finding:
        """Say that something is wrong with the container."""
        return self.pod.found(f"{self.path}.{path}", message)

    @property
    def name(self) -> str:
        return str(self.spec.get("name"))

    @cached_property
    def ports(self) -> dict[str, int]:
        return {str(port.get("name")): port.get("containerPort") for port in items(self.spec, "ports")}

    @cached_property
    def mounts(self) -> list[Object]:
        return items(self.spec, "volumeMounts")

    @cached_property
    def security(self) -> Object:
        """Give what is in force: the container's own security context over the pod's."""
        return {**dig(self.pod.spec, "securityContext", {}), **dig(self.spec, "securityContext", {})}


class Rendering:
    """The objects of one rendering, or of several that are installed into one cluster."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._worked_out: dict[str, Any] = {}  # by name, what `worked_out` was asked for
        self.objects = [thing for thing in objects if thing and thing.get("kind") not in NOT_SENT]

    def worked_out(self, name: str, work: Callable[[], Any]) -> Any:  # Any: whatever *work* gives
        """Give what *work* gives, which is done once: several checks need the same."""
        if name not in self._worked_out:
            self._worked_out[name] = work()
        return self._worked_out[name]

    def of(self, *kinds: str) -> list[Object]:
        """Give the objects of these kinds."""
        return [thing for thing in self.objects if thing.get("kind") in kinds]

    @cached_property
    def pods(self) -> list[Pod]:
        """Give every pod whose template is written out; operators' pods are in `operated`."""
        return [
            Pod(thing, "" if thing["kind"] == "Pod" else _TEMPLATES[thing["kind"]])
            for thing in self.of("Pod", *_TEMPLATES)
        ]

    @cached_property
    def containers(self) -> list[Container]:
        """Give every container of `pods`."""
        return [container for pod in self.pods for container in pod.containers]

    @property
    def lasting(self) -> list[Pod]:
        """Give the pods that are meant to run for ever."""
        return [pod for pod in self.pods if pod.is_lasting]

    @cached_property
    def operated(self) -> list[Pod]:
        """Give the pods that CloudNativePG makes, with the labels that it gives them.

        Source: CloudNativePG's documentation, "Labels and annotations" and "Connection pooling".
        """
        return [_operated(thing) for thing in self.of("Cluster", "Pooler") if "cnpg.io" in str(thing["apiVersion"])]

    def named(self, kind: str, name: str, namespace: str) -> Object | None:
        """Find an object."""
        for thing in self.of(kind):
            if name_of(thing) == name and dig(thing, "metadata.namespace", "") == namespace:
                return thing
        return None

    def autoscaler_of(self, workload: Object) -> list[Object]:
        """Give whatever decides how many pods the workload has."""
        namespace = dig(workload, "metadata.namespace")
        return [
            thing
            for thing in self.of("HorizontalPodAutoscaler", "ScaledObject")
            if dig(thing, "spec.scaleTargetRef.name") == name_of(workload)
            and dig(thing, "spec.scaleTargetRef.kind", "Deployment") == workload["kind"]
            and dig(thing, "metadata.namespace") == namespace
        ]

    def fewest(self, workload: Object) -> int:
        """Give the smallest number of pods that the workload may be scaled to."""
        for scaler in self.autoscaler_of(workload):
            field = "minReplicas" if scaler["kind"] == "HorizontalPodAutoscaler" else "minReplicaCount"
            # What the two assume themselves: 1 and 0.
            return int(dig(scaler, f"spec.{field}", 1 if field == "minReplicas" else 0))
        return int(dig(workload, "spec.replicas", 1))

    def most(self, workload: Object) -> int:
        """Give the largest number of pods that the workload may be scaled to."""
        for scaler in self.autoscaler_of(workload):
            field = "maxReplicas" if scaler["kind"] == "HorizontalPodAutoscaler" else "maxReplicaCount"
            return int(dig(scaler, f"spec.{field}", 100))
        return int(dig(workload, "spec.replicas", 1))


def _operated(thing: Object) -> Pod:
    template = dig(thing, "spec.template", {})
    given = dig(thing, "spec.inheritedMetadata.labels", {}) | labels_of(template)
    if thing["kind"] == "Pooler":
        own = {"cnpg.io/poolerName": name_of(thing), "cnpg.io/podRole": "pooler"}
        own["cnpg.io/cluster"] = str(dig(thing, "spec.cluster.name"))
        ports = [{"name": "pgbouncer", "containerPort": 5432}, {"name": "metrics", "containerPort": 9127}]
    else:
        own = {"cnpg.io/cluster": name_of(thing), "cnpg.io/podRole": "instance"}
        ports = [
            {"name": "postgresql", "containerPort": 5432},
            {"name": "metrics", "containerPort": 9187},
            {"name": "status", "containerPort": 8000},
        ]
    pod = {
        "kind": "Pod",
        "metadata": {**dig(thing, "metadata", {}), "labels": given | own},
        "spec": {"containers": [{"name": thing["kind"].lower(), "ports": ports}]},
    }
    return Pod(pod, "")


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector chooses these labels; an empty one chooses everything, none chooses nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_meets(rule, labels) for rule in selector.get("matchExpressions") or [])


def _meets(rule: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(rule["key"])
    among = rule.get("values") or []
    return {
        "In": value in among,
        "NotIn": value not in among,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[rule["operator"]]


def chosen(selector: Object | None, pods: Iterable[Pod], namespace: str) -> Iterator[Pod]:
    """Give the pods of a namespace that a label selector chooses."""
    return (pod for pod in pods if pod.namespace == namespace and matches(selector, pod.labels))
