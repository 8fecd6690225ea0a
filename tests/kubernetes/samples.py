"""Objects of the chart `telemed` to try policies on, and to break."""

import copy
from typing import Any

from tests.charts.rendering import render_objects
from tests.kubernetes.admission import Object

# Each environment, and a name that is in its domain.
OVERLAYS = {
    "local": "localhost",
    "staging": "api.staging.telemed.example",
    "production": "api.telemed.example",
}
DIGEST = "sha256:" + "5" * 64
ROUTED: Object = {
    "image": {"digest": DIGEST},
    "route": {"enabled": True, "parentRefs": [{"name": "telemed"}], "hostnames": ["api.telemed.example"]},
    "ingress": {"enabled": True, "hosts": ["api.telemed.example"]},
}


def pods_of(manifest: Object) -> list[Object]:
    """The pods that a controller would make of the object."""
    template = manifest.get("spec", {}).get("template")
    if manifest["kind"] not in {"Deployment", "StatefulSet", "Job"} or template is None:
        return []
    metadata = {**template["metadata"], "name": manifest["metadata"]["name"]}
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


def found(kind: str, name: str) -> Object:
    """One object of the chart `telemed`, to break."""
    objects = render_objects("telemed", ROUTED)
    return next(copy.deepcopy(o) for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


def pod(manifest: Object) -> Any:
    return manifest["spec"]["template"]["spec"]


def container(manifest: Object) -> Any:
    return pod(manifest)["containers"][0]
