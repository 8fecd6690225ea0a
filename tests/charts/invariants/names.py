"""Names, labels and namespaces: what Kubernetes refuses late, or takes and nobody finds again."""

import re
from collections import Counter
from collections.abc import Iterator

from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import (
    CLUSTER_WIDE,
    Finding,
    Rendering,
    annotations_of,
    called,
    dig,
    labels_of,
    name_of,
)

LONGEST = 63  # a DNS label: names become labels, host names and parts of other names
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# These may be longer and dotted, and really are: "telemed.example.org".
_DOTTED = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
DOTTED_KINDS = {
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
}
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
RECOMMENDED = ("name", "instance", "version", "part-of", "managed-by")


@invariant("A name that is too long or has a wrong letter is refused when half of the release is there.")
def names_are_valid(rendering: Rendering) -> Iterator[Finding]:
    for thing in rendering.objects:
        name = name_of(thing)
        if thing["kind"] in DOTTED_KINDS:
            if not _DOTTED.fullmatch(name.replace(":", "-")) or len(name) > 253:
                yield (thing, "metadata.name", f"{name!r} is no DNS name")
        elif not _LABEL.fullmatch(name) or len(name) > LONGEST:
            yield (thing, "metadata.name", f"{name!r} is no DNS label of at most {LONGEST} letters")


@invariant("Of two objects with one name, one silently replaces the other.")
def names_are_unique(rendering: Rendering) -> Iterator[Finding]:
    counted = Counter((thing["apiVersion"].split("/")[0], called(thing)) for thing in rendering.objects)
    for thing in rendering.objects:
        if counted[(thing["apiVersion"].split("/")[0], called(thing))] > 1:
            yield (thing, "metadata.name", "is there twice")


@invariant("Kubernetes takes only short, plain text as labels, and text as annotations.")
def labels_are_valid(rendering: Rendering) -> Iterator[Finding]:
    labelled = [(thing, "metadata", thing) for thing in rendering.objects]
    labelled += [(pod.owner, pod.at("metadata"), pod.template) for pod in rendering.pods if pod.path]
    for thing, path, holder in labelled:
        for key, value in labels_of(holder).items():
            is_short = isinstance(value, str) and len(value) <= LONGEST
            if not _KEY.fullmatch(key) or not is_short or not _VALUE.fullmatch(value):
                yield (thing, f"{path}.labels", f"{key}: {value!r} is no label")
        for key, value in annotations_of(holder).items():
            if not _KEY.fullmatch(key) or not isinstance(value, str):
                yield (thing, f"{path}.annotations", f"{key}: {value!r} is no text")


@invariant("Whose an object is must be seen on it, by people and by tools.")
def recommended_labels_are_there(rendering: Rendering) -> Iterator[Finding]:
    managers = {labels_of(thing).get("app.kubernetes.io/managed-by") for thing in rendering.objects}
    for thing in rendering.objects if "Helm" in managers else []:
        labels = labels_of(thing)
        wanted = RECOMMENDED if "app.kubernetes.io/instance" in labels else ("part-of",)
        for label in wanted:
            if not labels.get(f"app.kubernetes.io/{label}"):
                yield (thing, "metadata.labels", f"app.kubernetes.io/{label} is missing")


@invariant("What a release consists of is in one namespace: `helm uninstall` and whoever looks find all of it.")
def a_release_has_one_namespace(rendering: Rendering) -> Iterator[Finding]:
    namespaces: dict[str, Counter[str]] = {}
    mine = [
        thing
        for thing in rendering.objects
        if thing["kind"] not in CLUSTER_WIDE and labels_of(thing).get("app.kubernetes.io/managed-by") == "Helm"
    ]
    for thing in mine:
        release = labels_of(thing).get("app.kubernetes.io/instance", "")
        namespaces.setdefault(release, Counter())[dig(thing, "metadata.namespace", "")] += 1
    for thing in mine:
        seen = namespaces[labels_of(thing).get("app.kubernetes.io/instance", "")]
        if len(seen) > 1 and dig(thing, "metadata.namespace", "") != seen.most_common(1)[0][0]:
            yield (thing, "metadata.namespace", f"is not {seen.most_common(1)[0][0]!r} as the others'")


@invariant("A component's pods are found by the same labels that the object has.")
def pods_carry_their_component(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for label in ("name", "instance", "component"):
            key = f"app.kubernetes.io/{label}"
            if not pod.labels.get(key) or pod.labels[key] != labels_of(pod.owner).get(key):
                yield pod.found("metadata.labels", f"{key} must be the same as the object's")
