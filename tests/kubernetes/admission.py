"""What the API server would refuse: the policies of k8s/, evaluated on objects as it does.

Standard CEL only, which the policies keep to. What this cannot know are the server's own checks of types and costs.
"""

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cel import evaluate
from tests.charts.programs import program

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
# Kinds that policies are about, as the API's paths name them.
RESOURCES = {
    "Pod": "pods",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "HTTPRoute": "httproutes",
    "Ingress": "ingresses",
}


@functools.cache
def _built(folder: Path) -> str:
    answer = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return answer.stdout


def built(folder: str) -> list[Object]:
    """Return the objects of a folder of k8s/, as `kubectl apply -k` would send them."""
    return list(yaml.safe_load_all(_built(ROOT / "k8s" / folder)))


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of one kind by their names."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


class Server:
    """The admission of one environment."""

    def __init__(self, overlay: str) -> None:
        objects = built(f"overlays/{overlay}")
        self.policies = of_kind(objects, "ValidatingAdmissionPolicy")
        self.bindings = of_kind(objects, "ValidatingAdmissionPolicyBinding")
        self.namespaces = of_kind(objects, "Namespace")

    def refusals(self, manifest: Object, namespace: str, operation: str = "CREATE") -> list[str]:
        """Return the messages with which the server would refuse the object, each after its policy's name."""
        around = {"object": manifest, "namespaceObject": self.namespaces[namespace]}
        return [
            f"{name}: {message}"
            for name, policy in self._policies_of(manifest, namespace, operation)
            for message in _messages(policy["spec"], around)
        ]

    def _policies_of(self, manifest: Object, namespace: str, operation: str) -> Iterator[tuple[str, Object]]:
        labels = self.namespaces[namespace]["metadata"]["labels"]
        for binding in self.bindings.values():
            assert binding["spec"]["validationActions"] == ["Deny"]
            wanted = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
            policy = self.policies[binding["spec"]["policyName"]]
            if wanted.items() <= labels.items() and _is_about(policy["spec"], manifest, operation):
                yield policy["metadata"]["name"], policy


def _messages(policy: Object, around: Object) -> Iterator[str]:
    if not all(evaluate(each["expression"], around) for each in policy.get("matchConditions", [])):
        return
    variables: Object = {}
    for each in policy.get("variables", []):
        variables[each["name"]] = evaluate(each["expression"], {**around, "variables": variables})
    known = {**around, "variables": variables}
    for rule in policy["validations"]:
        allowed = evaluate(rule["expression"], known)
        assert isinstance(allowed, bool), rule
        if not allowed:
            yield evaluate(rule["messageExpression"], known) if "messageExpression" in rule else rule["message"]


def _is_about(policy: Object, manifest: Object, operation: str) -> bool:
    group, _, version = manifest["apiVersion"].rpartition("/")
    return any(
        group in rule["apiGroups"]
        and version in rule["apiVersions"]
        and operation in rule["operations"]
        and RESOURCES.get(manifest["kind"]) in rule["resources"]
        for rule in policy["matchConstraints"]["resourceRules"]
    )
