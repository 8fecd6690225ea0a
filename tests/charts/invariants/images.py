"""What runs: an exact version, the same for every role, from where it was pushed to."""

import re
from collections.abc import Iterator

from tests.charts.invariants.application import command_of, is_production, repository
from tests.charts.invariants.invariant import invariant
from tests.charts.invariants.objects import Finding, Rendering, dig

MOVING = {"latest", "main", "master", "edge", "nightly", "stable"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+")
_TAG = re.compile(r"\w[\w.-]{0,127}")


def _images(rendering: Rendering) -> Iterator[tuple[Finding, str]]:
    for container in rendering.containers:
        yield container.found("image", ""), str(container.spec.get("image", ""))
    for thing in rendering.of("Cluster", "Pooler"):
        for path in ("spec.imageName", "spec.pgbouncer.image"):
            if dig(thing, path):
                yield (thing, path, ""), str(dig(thing, path))
        for number, container in enumerate(dig(thing, "spec.template.spec.containers", [])):
            if container.get("image"):
                yield (thing, f"spec.template.spec.containers[{number}].image", ""), str(container["image"])


def tag_of(image: str) -> str:
    """Give an image's tag; empty if it has none."""
    name, _, _ = image.partition("@")
    return name.removeprefix(repository(image)).removeprefix(":")


@invariant("A name that means something else tomorrow is no version: what was tested is not what runs.")
def images_are_exact(rendering: Rendering) -> Iterator[Finding]:
    for (thing, path, _), image in _images(rendering):
        digest = image.partition("@")[2]
        tag = tag_of(image)
        if digest and not _DIGEST.fullmatch(digest):
            yield (thing, path, f"{digest!r} is no digest")
        if not digest and (not _TAG.fullmatch(tag) or tag.lower() in MOVING):
            yield (thing, path, f"{image!r} needs a version or a digest")


@invariant("An image without its registry is whatever the node's runtime takes it for.")
def images_name_their_registry(rendering: Rendering) -> Iterator[Finding]:
    if not is_production(rendering):
        return
    for (thing, path, _), image in _images(rendering):
        name = repository(image)
        if not _NAME.fullmatch(name) or not re.search(r"[.:]|^localhost$", name.split("/")[0]):
            yield (thing, path, f"{image!r} does not say its registry")


@invariant(
    "Who may pull is asked by IfNotPresent at the first pull and by Always at each; Never runs what is lying around."
)
def images_are_pulled(rendering: Rendering) -> Iterator[Finding]:
    for container in rendering.containers:
        # Of somebody else's container, what Kubernetes assumes for an exact image will do.
        policy = container.spec.get("imagePullPolicy", None if command_of(container) else "IfNotPresent")
        allowed = {"IfNotPresent", "Always"} | (set() if is_production(rendering) else {"Never"})
        if policy not in allowed:
            yield container.found("imagePullPolicy", f"must be {' or '.join(sorted(allowed))}, not {policy!r}")
