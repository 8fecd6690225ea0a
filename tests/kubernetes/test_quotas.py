"""The namespaces have room for the most that the charts may ask for, and not for much more."""

import math
from pathlib import Path

import pytest
import yaml
from tests.charts.rendering import render_objects
from tests.kubernetes.admission import Object, built, of_kind

pytestmark = pytest.mark.usefixtures("programs")

ROOT = Path(__file__).parents[2]
UNITS = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1.0}


def amount(quantity: object) -> float:
    text = str(quantity)
    digits = text.rstrip("KMGim")
    return float(digits) * UNITS[text[len(digits) :]]


def requests_of(template: Object) -> dict[str, float]:
    containers = template["spec"]["containers"]
    return {name: sum(amount(c["resources"]["requests"][name]) for c in containers) for name in ("cpu", "memory")} | {
        "pods": 1.0
    }


def most_of_the_application() -> dict[str, float]:
    """Every autoscaler at its upper bound, an update of all at once, the migration and the test beside them."""
    objects = render_objects("telemed", ROOT / "charts" / "telemed" / "examples" / "production.yaml")
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    total = {"cpu": 0.0, "memory": 0.0, "pods": 0.0}
    for each in objects:
        pods = 1
        if each["kind"] == "Deployment":
            scaler = scalers.get(each["metadata"]["name"])
            wanted = scaler["spec"]["maxReplicas"] if scaler else each["spec"]["replicas"]
            surge = str(each["spec"]["strategy"]["rollingUpdate"]["maxSurge"]).removesuffix("%")
            pods = wanted + math.ceil(wanted * int(surge) / 100)
        elif each["kind"] not in {"Job", "Pod"}:
            continue
        for name, value in requests_of(each["spec"].get("template", each)).items():
            total[name] += pods * value
    return total


def most_of_the_database() -> dict[str, float]:
    """The instances and one that replaces one of them; the poolers and one more of each."""
    objects = render_objects("telemed-data", ROOT / "charts" / "telemed-data" / "examples" / "production.yaml")
    [cluster] = of_kind(objects, "Cluster").values()
    instances = cluster["spec"]["instances"] + 1
    volumes = instances * (2 if "walStorage" in cluster["spec"] else 1)
    total = {name: instances * amount(cluster["spec"]["resources"]["requests"][name]) for name in ("cpu", "memory")}
    total |= {"pods": float(instances), "persistentvolumeclaims": float(volumes)}
    for pooler in of_kind(objects, "Pooler").values():
        for name, value in requests_of(pooler["spec"]["template"]).items():
            total[name] += (pooler["spec"]["instances"] + 1) * value
    return total


@pytest.mark.parametrize("namespace", ["telemed", "telemed-data"])
def test_the_quota_has_room_for_the_most_and_not_for_three_times_as_much(namespace: str) -> None:
    """An autoscaler that runs into the quota stops silently; a quota that is far away bounds nothing."""
    hard = of_kind(built("overlays/production"), "ResourceQuota")[namespace]["spec"]["hard"]
    most = most_of_the_application() if namespace == "telemed" else most_of_the_database()
    for name, value in most.items():
        limit = amount(hard.get(f"requests.{name}", hard.get(name)))
        assert value <= limit <= 3 * value, (name, value, limit)
    if "limits.memory" in hard:
        assert hard["limits.memory"] == hard["requests.memory"]


def test_nobody_is_too_big_for_the_namespace() -> None:
    """A container above the LimitRange would be refused however much room there is."""
    for overlay in ("local", "staging", "production"):
        limit = of_kind(built(f"overlays/{overlay}"), "LimitRange")["telemed"]["spec"]["limits"][0]
        values = yaml.safe_load((ROOT / "charts" / "telemed" / "values.yaml").read_text())
        assert amount(values["defaults"]["resources"]["requests"]["memory"]) < amount(limit["max"]["memory"])
        assert "cpu" not in limit.get("max", {})
