"""What an API server, or an operator, refuses to change in an object that is there: an upgrade that tries it fails.

Pure: compares two renderings. What Helm deletes and makes anew at each upgrade (hooks) is not looked at.
"""

from collections.abc import Callable, Iterator

from tests.charts.rendering import Object

# Fields of `spec` that may change in a StatefulSet; everything else may not.
_STATEFUL_SET_MAY = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}
_CLAIM_MAY = {"resources", "volumeAttributesClassName"}
# By kind, fields that may not change, by their path. Of operators: what their webhooks refuse.
_FIXED: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "Job": ("spec.template", "spec.selector", "spec.completions", "spec.completionMode", "spec.podFailurePolicy"),
    "Secret": ("type",),
    "PriorityClass": ("value", "preemptionPolicy"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Pooler": ("spec.cluster",),
    "ScheduledBackup": ("spec.cluster",),
    "Cluster": ("spec.postgresUID", "spec.postgresGID", "spec.replicationSlots.highAvailability.slotPrefix"),
}
# Whoever renames one of these takes it away: the data, the address, or for a while all pods.
_STAYS = {"Cluster", "Deployment", "PersistentVolumeClaim", "Pooler", "Service", "StatefulSet"}
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def refusals(before: list[Object], after: list[Object]) -> list[str]:
    """Say what of the upgrade from *before* to *after* would be refused, or would take something away."""
    now = {_name(manifest): manifest for manifest in after}
    return [
        f"{_name(manifest)}: {refusal}"
        for manifest in before
        if not _is_made_anew(manifest)
        for refusal in _refusals_of(manifest, now.get(_name(manifest)))
    ]


def _refusals_of(old: Object, new: Object | None) -> Iterator[str]:
    if new is None:
        if old["kind"] in _STAYS:
            yield "is gone"
        return
    for path in _FIXED.get(old["kind"], ()):
        if _at(old, path) != _at(new, path):
            yield f"{path} is immutable"
    if old["kind"] in _RULES:
        yield from _RULES[old["kind"]](old, new)


def _stateful_set(old: Object, new: Object) -> Iterator[str]:
    for field in sorted((old["spec"].keys() | new["spec"].keys()) - _STATEFUL_SET_MAY):
        if old["spec"].get(field) != new["spec"].get(field):
            yield f"spec.{field} is immutable"


def _service(old: Object, new: Object) -> Iterator[str]:
    def is_headless(service: Object) -> bool:
        return bool(service["spec"].get("clusterIP") == "None")

    if is_headless(old) != is_headless(new):
        yield "spec.clusterIP is immutable"
    if old["spec"].get("ipFamilies", [])[:1] != new["spec"].get("ipFamilies", [])[:1]:
        yield "the first of spec.ipFamilies is immutable"


def _claim(old: Object, new: Object) -> Iterator[str]:
    for field in sorted((old["spec"].keys() | new["spec"].keys()) - _CLAIM_MAY):
        if old["spec"].get(field) != new["spec"].get(field):
            yield f"spec.{field} is immutable"
    yield from _shrunk(old, new, "spec.resources.requests.storage")


def _cluster(old: Object, new: Object) -> Iterator[str]:
    yield from _shrunk(old, new, "spec.storage.size")
    if _at(old, "spec.walStorage") is not None and _at(new, "spec.walStorage") is None:
        yield "spec.walStorage cannot be taken away"
    else:
        yield from _shrunk(old, new, "spec.walStorage.size")


def _configuration(old: Object, new: Object) -> Iterator[str]:
    if old.get("immutable") and any(old.get(field) != new.get(field) for field in ("data", "binaryData", "immutable")):
        yield "is immutable as a whole"


_RULES: dict[str, Callable[[Object, Object], Iterator[str]]] = {
    "StatefulSet": _stateful_set,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "Cluster": _cluster,
    "ConfigMap": _configuration,
    "Secret": _configuration,
}


def _shrunk(old: Object, new: Object, path: str) -> Iterator[str]:
    before, after = _at(old, path), _at(new, path)
    if before is not None and after is not None and _bytes(str(after)) < _bytes(str(before)):
        yield f"{path} cannot shrink"


def _bytes(quantity: str) -> float:
    number = quantity.rstrip("".join(_UNITS))
    return float(number) * _UNITS[quantity.removeprefix(number)]


def _is_made_anew(manifest: Object) -> bool:
    annotations = manifest["metadata"].get("annotations") or {}
    # Without a policy, Helm's is the same.
    policy = annotations.get("helm.sh/hook-delete-policy", "before-hook-creation")
    return "helm.sh/hook" in annotations and "before-hook-creation" in policy


def _at(manifest: Object, path: str) -> object:
    value: object = manifest
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _name(manifest: Object) -> str:
    # Without the version of the API: a newer one is the same object.
    group = manifest["apiVersion"].rpartition("/")[0]
    return f"{manifest['kind']}{'.' if group else ''}{group}/{manifest['metadata']['name']}"
