"""The strict check refuses what an API server would refuse or drop; what it lets pass is known to be good."""

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from referencing.jsonschema import DRAFT202012
from tests.charts import strictness
from tests.charts.rendering import KUBERNETES, Object
from tests.charts.strictness import closed, faults, is_of_kubernetes

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "sample", "labels": {"app": "sample"}},
    "spec": {
        "selector": {"matchLabels": {"app": "sample"}},
        "template": {
            "metadata": {"labels": {"app": "sample"}},
            "spec": {
                "containers": [
                    {
                        "name": "sample",
                        "image": "sample:1",
                        "ports": [{"containerPort": 3000}],
                        "resources": {"requests": {"cpu": "100m", "memory": "1.5Gi"}, "limits": {"memory": 1000}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": 9000}},
                    }
                ]
            },
        },
    },
}


def container(manifest: Object) -> Object:
    only: Object = manifest["spec"]["template"]["spec"]["containers"][0]
    return only


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_a_good_object_has_no_fault(kubernetes: str) -> None:
    """In every version that is promised."""
    assert faults(DEPLOYMENT, kubernetes) == []


CORRUPTIONS: dict[str, tuple[Callable[[Object], object], str]] = {
    "an unknown field at the top": (lambda it: it.update(status2={}), "'status2' was unexpected"),
    "an unknown field of the metadata": (lambda it: it["metadata"].update(label={}), "'label' was unexpected"),
    "an unknown field far below": (
        lambda it: container(it)["readinessProbe"]["httpGet"].update(url="/"),
        "'url' was unexpected",
    ),
    "a number for a text": (lambda it: container(it).update(image=1), "1 is not of type 'string'"),
    "a text for a number": (
        lambda it: container(it)["ports"][0].update(containerPort="3000"),
        "'3000' is not of type 'integer'",
    ),
    "a text for a truth": (
        lambda it: it["spec"]["template"]["spec"].update(enableServiceLinks="false"),
        "'false' is not of type 'boolean'",
    ),
    "a truth in the labels": (lambda it: it["metadata"]["labels"].update(app=True), "True is not of type 'string'"),
    "a missing field": (lambda it: it["spec"].pop("selector"), "'selector' is a required property"),
    "a null": (lambda it: it["spec"].update(paused=None), "$.spec.paused is null"),
    "a quantity with a space": (lambda it: container(it)["resources"]["requests"].update(cpu="100 m"), "'100 m'"),
    "a quantity of megabytes": (lambda it: container(it)["resources"]["requests"].update(memory="10MB"), "'10MB'"),
    "a label with a space": (lambda it: it["metadata"]["labels"].update(app="a b"), "does not match"),
    "a label that is too long": (lambda it: it["metadata"]["labels"].update(app="x" * 64), "is too long"),
    "a name in capitals": (lambda it: it["metadata"].update(name="Sample"), "does not match"),
    "a variable twice": (
        lambda it: container(it).update(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        'two entries have name ["A"]',
    ),
    "a port twice": (
        lambda it: container(it)["ports"].append({"containerPort": 3000, "protocol": "TCP", "name": "b"}),
        "two entries have containerPort and protocol",
    ),
    "a mount twice": (
        lambda it: container(it).update(
            volumeMounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}]
        ),
        "two entries have mountPath",
    ),
    "a kind of another group": (lambda it: it.update(apiVersion="batch/v1"), "no schema for Deployment of batch/v1"),
    "a version that is gone": (lambda it: it.update(apiVersion="apps/v1beta1"), "no schema for Deployment"),
    "a kind that nobody knows": (lambda it: it.update(apiVersion="acme.io/v1"), "no schema for Deployment"),
}


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corrupted_object_is_refused(corruption: str, kubernetes: str) -> None:
    """With the place and the reason."""
    corrupt, reason = CORRUPTIONS[corruption]
    manifest = copy.deepcopy(DEPLOYMENT)
    corrupt(manifest)

    found = faults(manifest, kubernetes)

    assert found
    assert all("/sample: " in fault.lower() for fault in found)
    assert any(reason in fault for fault in found), found


def test_a_version_without_schemas_is_no_older_one() -> None:
    """The package would take the newest that it has, and the test would promise too much."""
    with pytest.raises(ValueError, match=r"1\.99 is none of"):
        faults(DEPLOYMENT, "1.99")


def test_kinds_that_only_look_like_those_of_kubernetes() -> None:
    """Gateway API and snapshots are installed like an operator."""
    assert is_of_kubernetes({"apiVersion": "networking.k8s.io/v1"})
    assert is_of_kubernetes({"apiVersion": "v1"})
    assert not is_of_kubernetes({"apiVersion": "gateway.networking.k8s.io/v1"})
    assert not is_of_kubernetes({"apiVersion": "postgresql.cnpg.io/v1"})


def test_our_schemas_forbid_what_they_do_not_name() -> None:
    """Wherever a schema lists fields, also in branches and lists; where it says otherwise, that holds."""
    schema = {
        "properties": {"spec": {"properties": {"a": {}}}, "free": {"type": "object"}},
        "oneOf": [{"properties": {"b": {}}}],
        "$defs": {"open": {"properties": {"c": {}}, "additionalProperties": True}},
    }

    strict = closed(schema)

    assert strict["additionalProperties"] is False
    assert strict["properties"]["spec"]["additionalProperties"] is False
    assert "additionalProperties" not in strict["properties"]["free"]
    assert strict["$defs"]["open"]["additionalProperties"] is True


def test_a_schema_has_the_place_of_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is the group, the file the kind and its version, and it describes `spec`."""
    shutil.copy(strictness.SCHEMAS / "shared.yaml", tmp_path)
    (tmp_path / "acme.io").mkdir()
    (tmp_path / "acme.io" / "Thing.v2.yaml").write_text("properties: {size: {$ref: shared#/$defs/quantity}}\n")
    monkeypatch.setattr(strictness, "SCHEMAS", tmp_path)
    thing: Object = {"apiVersion": "acme.io/v2", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"size": "1Gi"}}

    assert faults(thing, "1.37") == []
    assert "'colour' was unexpected" in faults({**thing, "spec": {"colour": 1}}, "1.37")[0]
    assert "'1 GB'" in faults({**thing, "spec": {"size": "1 GB"}}, "1.37")[0]
    assert "'nam' was unexpected" in faults({**thing, "metadata": {"name": "a", "nam": "a"}}, "1.37")[0]
    assert "'status' was unexpected" in faults({**thing, "status": {}}, "1.37")[0]
    assert "no schema" in faults({**thing, "kind": "Other"}, "1.37")[0]


@pytest.mark.parametrize("file", sorted(strictness.SCHEMAS.glob("*/*.yaml")), ids=lambda file: file.stem)
def test_our_schemas_are_whole(file: Path) -> None:
    """Each says where it is from, and leads nowhere that is not there."""
    kind, version, _ = file.name.split(".")
    whole = strictness._ours(f"{file.parent.name}/{version}", kind)
    assert whole is not None
    schema = cast("Object", whole.schema)
    spec = schema["properties"]["spec"]
    resolver = (DRAFT202012.create_resource(schema) @ strictness._shared()).resolver(spec["$id"])

    assert file.read_text().startswith("# ")
    for reference in set(references(spec)):
        resolver.lookup(reference)


def references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (value for key, value in schema.items() if key == "$ref")
        yield from (found for value in schema.values() for found in references(value))
    elif isinstance(schema, list):
        yield from (found for value in schema for found in references(value))
