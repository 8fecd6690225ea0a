"""What is mounted: unique, existing, bounded, and noticed when it changes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from posixpath import join

from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Container, Finding, Rendering, dig, is_hook, items, name_of

# Larger than anything that is only passing through; a node's disk belongs to everybody.
LARGEST_EMPTY_DIR = 2 * 1024**3
_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "m": 0.001,
}


def quantity(value: object) -> float:
    """Read a Kubernetes quantity, such as 128Mi or 250m.

    Raises:
        ValueError: it is none.
    """
    text = str(value)
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def files_of(container: Container) -> dict[str, tuple[str, str, str]]:
    """Give the paths that come from Secrets and ConfigMaps: their object, its kind, and the key in it.

    The key is empty for a folder of which not every file is listed.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for mount in container.mounts:
        volume = container.pod.volumes.get(str(mount.get("name")), {})
        for source in [volume, *items(volume, "projected.sources")]:
            for kind, field in (("secret", "secretName"), ("configMap", "name")):
                if kind not in source:
                    continue
                name = str(source[kind].get(field) or source[kind].get("name"))
                listed = items(source, f"{kind}.items")
                for item in listed:
                    path = join(mount["mountPath"], item["path"])
                    found[mount["mountPath"] if mount.get("subPath") else path] = (name, kind, item["key"])
                if not listed:
                    found[mount["mountPath"]] = (name, kind, str(mount.get("subPath", "")))
    return found


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]


@invariant("Two volumes or containers with one name, or two mounts in one place, are refused.")
def volumes_and_mounts_are_unique(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for name in _repeated(volume.get("name") for volume in items(pod.spec, "volumes")):
            yield pod.found("spec.volumes", f"{name} is there more than once")
        for name in _repeated(container.name for container in pod.containers):
            yield pod.found("spec.containers", f"{name} is there more than once")
    for container in rendering.containers:
        for path in _repeated(mount.get("mountPath") for mount in container.mounts):
            yield container.found("volumeMounts", f"{path} is mounted more than once")


@invariant("A mount without its volume keeps the pod from starting; a volume without a mount is a leftover.")
def mounts_have_volumes(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        claims = {name_of(claim) for claim in items(pod.owner, "spec.volumeClaimTemplates")}
        used: set[str] = set()
        for container in pod.containers:
            for number, mount in enumerate(container.mounts):
                used.add(str(mount.get("name")))
                if mount.get("name") not in pod.volumes and mount.get("name") not in claims:
                    yield container.found(f"volumeMounts[{number}]", f"there is no volume {mount.get('name')}")
                if not str(mount.get("mountPath", "")).startswith("/"):
                    yield container.found(f"volumeMounts[{number}].mountPath", "must be a path from the root")
        for name in sorted(set(pod.volumes) - used):
            yield pod.found("spec.volumes", f"{name} is mounted nowhere")


@invariant("A folder without a limit fills the disk of the node, and everybody on it is evicted.")
def passing_files_are_bounded(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.pods:
        for number, volume in enumerate(items(pod.spec, "volumes")):
            if "emptyDir" not in volume:
                continue
            limit = dig(volume, "emptyDir.sizeLimit")
            if limit is None or not 0 < quantity(limit) <= LARGEST_EMPTY_DIR:
                yield pod.found(f"spec.volumes[{number}].emptyDir.sizeLimit", f"must be set, to 2Gi at most: {limit!r}")


@invariant("With a read-only root, Python and its libraries still need a place for temporary files.")
def there_is_a_tmp(rendering: Rendering) -> Iterator[Finding]:
    from tests.charts.invariants.application import ours

    for container in ours(rendering):
        mounts = {mount.get("mountPath"): mount for mount in container.mounts}
        volume = container.pod.volumes.get(str(mounts.get("/tmp", {}).get("name")), {})  # noqa: S108 - a path in a pod
        if "emptyDir" not in volume or mounts["/tmp"].get("readOnly"):  # noqa: S108 - a path in a pod
            yield container.found("volumeMounts", "must be an emptyDir that can be written to, at /tmp")


@invariant("A file that is mounted over programs or the system's own places changes what runs.")
def mounts_keep_to_their_places(rendering: Rendering) -> Iterator[Finding]:
    system = (
        "/bin",
        "/dev",
        "/etc/passwd",
        "/lib",
        "/opt/telemed",
        "/proc",
        "/sbin",
        "/sys",
        "/usr",
        "/var/run/docker.sock",
    )
    for container in rendering.containers:
        for number, mount in enumerate(container.mounts):
            path = str(mount.get("mountPath", ""))
            if path == "/" or any(path == place or path.startswith(f"{place}/") for place in system):
                yield container.found(f"volumeMounts[{number}].mountPath", f"{path} is the system's")
            if mount.get("mountPropagation", "None") != "None":
                yield container.found(f"volumeMounts[{number}].mountPropagation", "must not be set")


def config_maps(thing: object) -> set[str]:
    """Give the names of the ConfigMaps that something refers to, however deep."""
    found: set[str] = set()
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("configMap", "configMapKeyRef", "configMapRef") and isinstance(value, dict):
                found.add(str(value.get("name")))
            found |= config_maps(value)
    elif isinstance(thing, list):
        for value in thing:
            found |= config_maps(value)
    return found


@invariant("A pod whose ConfigMap changed runs on with the old one, until a checksum on it makes a new pod.")
def changed_files_make_new_pods(rendering: Rendering) -> Iterator[Finding]:
    for pod in rendering.lasting:
        rendered = {name_of(thing) for thing in rendering.of("ConfigMap") if not is_hook(thing)}
        used = sorted(config_maps(pod.spec) & rendered)
        sums = {key: value for key, value in pod.annotations.items() if key.startswith("checksum/")}
        if used and not any(len(value) >= 32 for value in sums.values()):
            yield pod.found("metadata.annotations", f"a checksum/… of {', '.join(used)} is missing")
