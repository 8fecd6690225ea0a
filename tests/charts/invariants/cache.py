"""The cache inside the cluster: nothing in it is needed tomorrow, so it takes no disk and never refuses a write."""

import re
from collections.abc import Iterator

from tests.charts.invariants.files import config_maps, quantity
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Container, Finding, Rendering, dig, items, labels_of, name_of

# Beside what is cached: buffers of clients and replicas, fragmentation.
SHARE_OF_MEMORY = (0.3, 0.85)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 10**6, "mb": 2**20, "g": 10**9, "gb": 2**30}


def caches(rendering: Rendering) -> list[Container]:
    """Give the containers that are Valkey or Redis servers (sentinels are none)."""
    return [container for container in rendering.containers if _is_server(rendering, container)]


def _is_server(rendering: Rendering, container: Container) -> bool:
    image = str(container.spec.get("image", ""))
    words = [str(word) for word in [*items(container.spec, "command"), *items(container.spec, "args")]]
    if not re.search(r"(valkey|redis)(:|@|$|/valkey)", image.partition("@")[0].rpartition("/")[2]):
        return False
    is_sentinel = "sentinel" in container.name or "--sentinel" in words or any("sentinel" in word for word in words[:1])
    is_beside = container.name == "tend"  # only tells the server next to it where the others are
    lasts = container.pod.is_lasting and container.path.startswith("spec.containers")
    return lasts and not is_sentinel and not is_beside


def told(rendering: Rendering, container: Container) -> dict[str, str]:
    """Give the server's settings, from its arguments and from the files that its pod mounts from ConfigMaps."""
    words = [str(word) for word in [*items(container.spec, "command"), *items(container.spec, "args")]]
    found: dict[str, str] = {}
    for thing in rendering.of("ConfigMap"):
        if name_of(thing) in config_maps(container.pod.spec):
            for text in dig(thing, "data", {}).values():
                found |= dict(re.findall(r'^\s*([a-z][a-z-]+)[ \t]+"?([^"\n#]*?)"?[ \t]*$', str(text), re.MULTILINE))
    text = " ".join(words)
    found |= {name: value.strip("\"'") for name, value in re.findall(r"--([a-z-]+)[ =](\"\"|''|\S+)", text)}
    for number, word in enumerate(words[:-1]):
        if word.startswith("--"):
            found[word[2:]] = words[number + 1].strip("\"'")
    return found


def _bytes(text: str) -> float:
    found = re.fullmatch(r"(\d+)([a-z]*)", text.lower())
    return float(found[1]) * _UNITS[found[2]] if found else 0


@invariant("A cache that writes to a disk is slower than the database, and comes back with what is out of date.")
def caches_keep_nothing(rendering: Rendering) -> Iterator[Finding]:
    for container in caches(rendering):
        given = told(rendering, container)
        if given.get("save", "on").strip("\"'") != "":
            yield container.found("args", "save must be empty")
        if given.get("appendonly", "no") != "no":
            yield container.found("args", "appendonly must be no")
        if items(container.pod.owner, "spec.volumeClaimTemplates"):
            yield container.pod.found("spec.volumes", "must not be on a disk")


@invariant("A cache without a bound is killed for its memory; one that does not evict refuses writes.")
def caches_are_bounded(rendering: Rendering) -> Iterator[Finding]:
    for container in caches(rendering):
        given = told(rendering, container)
        if given.get("maxmemory-policy") not in ("allkeys-lru", "allkeys-lfu"):
            yield container.found("args", f"maxmemory-policy must be allkeys-lru, not {given.get('maxmemory-policy')}")
        limit = quantity(dig(container.spec, "resources.limits.memory", 0))
        least, most = (share * limit for share in SHARE_OF_MEMORY)
        if not least <= _bytes(given.get("maxmemory", "0")) <= most:
            yield container.found("args", f"maxmemory must be {least:.0f} to {most:.0f}, not {given.get('maxmemory')}")


@invariant("Whoever gets near the cache could put answers into it that patients then read.")
def caches_ask_for_a_password(rendering: Rendering) -> Iterator[Finding]:
    for container in caches(rendering):
        text = str(
            [
                container.spec.get("command"),
                container.spec.get("args"),
                container.spec.get("env"),
                told(rendering, container),
            ]
        )
        sources = [
            source
            for volume in container.pod.volumes.values()
            for source in [volume, *items(volume, "projected.sources")]
        ]
        is_secret_mounted = any("secret" in source for source in sources) or "secretKeyRef" in text
        if not is_secret_mounted:
            yield container.found("env", "must ask for a password that comes from a Secret")


@invariant("One server lost must leave the others with a majority, and each on its own node.")
def caches_outlive_a_node(rendering: Rendering) -> Iterator[Finding]:
    for container in caches(rendering):
        given, fewest = told(rendering, container), rendering.fewest(container.pod.owner)
        if given.get("cluster-enabled") == "yes":
            if fewest < 6:
                yield (container.pod.owner, "spec.replicas", "three primaries with a replica each are six")
            if given.get("cluster-require-full-coverage") != "no":
                yield container.found(
                    "args", "cluster-require-full-coverage must be no: half a cache is better than none"
                )
        if (
            fewest > 1
            and not items(container.pod.spec, "topologySpreadConstraints")
            and not dig(container.pod.spec, "affinity.podAntiAffinity")
        ):
            yield container.pod.found("spec.topologySpreadConstraints", "must spread over nodes")
    sentinels = [
        pod for pod in rendering.lasting if "sentinel" in str(labels_of(pod.owner).get("app.kubernetes.io/component"))
    ]
    for pod in sentinels:
        if rendering.fewest(pod.owner) not in (3, 5):
            yield (pod.owner, "spec.replicas", "must be three, or five: a majority decides")
