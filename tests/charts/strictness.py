"""Check an object against the schema of its kind as strictly as can be.

No unknown field, no other type, no null, nothing twice in a list whose entries have keys (Helm 4 applies on the server,
which refuses that; Helm 3 did not). Kinds of Kubernetes come from the published schemas of its versions: the package
kubernetes-validate brings them, whose own function reads two megabytes for each object. Those of operators come from
schemas/, which are ours: a kind without a schema is a fault too.
"""

import functools
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from tests.charts.rendering import KUBERNETES, Object

SCHEMAS = Path(__file__).parent / "schemas"
_DEFINITIONS = "_definitions.json"
_HOME = "https://telemed.test/schemas"  # a name; nothing is fetched


def faults(manifest: Object, kubernetes: str) -> list[str]:
    """Say what an API server of that version, with the operators' kinds installed, would not know or take."""
    return list(_faults(json.dumps(manifest, sort_keys=True), kubernetes))


def is_of_kubernetes(manifest: Object) -> bool:
    """Tell whether the kind is one of Kubernetes itself, and not of an operator."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group not in _GROUPS_OF_PROJECTS)


# They look like groups of Kubernetes, and are installed like an operator's.
_GROUPS_OF_PROJECTS = {"gateway.networking.k8s.io", "snapshot.storage.k8s.io", "metrics.k8s.io"}
_LABEL = {"type": "string", "maxLength": 63, "pattern": r"^(|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)$"}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
# What every server checks in its code and the published schemas do not say.
_RULES_OF_SERVERS: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "type": ["number", "string"],
        "pattern": r"^[+-]?[0-9.]+([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$",
    },
    f"{_META}.ObjectMeta/properties/name": {"maxLength": 253, "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"},
    f"{_META}.ObjectMeta/properties/labels/additionalProperties": _LABEL,
    f"{_META}.LabelSelector/properties/matchLabels/additionalProperties": _LABEL,
}


@functools.cache
def _faults(text: str, kubernetes: str) -> tuple[str, ...]:
    manifest = json.loads(text)
    name = f"{manifest.get('kind')}/{manifest.get('metadata', {}).get('name')}"
    validator = _validator(manifest, kubernetes)
    if validator is None:
        return (f"{name}: no schema for {manifest.get('kind')} of {manifest.get('apiVersion')} in {kubernetes}",)
    errors = sorted(validator.iter_errors(manifest), key=lambda error: str(error.json_path))
    found = [f"{name}: {error.json_path}: {_sentence(error)}" for error in errors]
    return (*found, *(f"{name}: {path} is null" for path in _nulls(manifest, "$")))


def _sentence(error: jsonschema.ValidationError) -> str:
    """Tell the failing branch, too, where a schema has alternatives."""
    inner = jsonschema.exceptions.best_match([error]) if error.context else error
    return f"{inner.json_path}: {inner.message[:300]}" if inner is not error else error.message[:300]


def _nulls(value: object, path: str) -> Iterator[str]:
    # The published schemas allow null nearly everywhere. In a template it is a value that somebody forgot.
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _nulls(part, f"{path}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _nulls(part, f"{path}[{number}]")


def _validator(manifest: Object, kubernetes: str) -> jsonschema.Draft202012Validator | None:
    if is_of_kubernetes(manifest):
        return _published(kubernetes, manifest["apiVersion"], manifest["kind"])
    return _ours(manifest["apiVersion"], manifest["kind"])


def _distinct(
    _validator: object, keys: list[str], entries: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    """Refuse two entries with the same keys, in a list that a server merges by them."""
    seen = set()
    for entry in entries if isinstance(entries, list) else []:
        key = json.dumps([entry.get(name, _KEYS_DEFAULT.get(name)) for name in keys if isinstance(entry, dict)])
        if key in seen:
            yield jsonschema.ValidationError(f"two entries have {' and '.join(keys)} {key}")
        seen.add(key)


_KEYS_DEFAULT = {"protocol": "TCP"}
# Typed here, as the stubs do not.
_Validator: type[jsonschema.Draft202012Validator] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"x-kubernetes-list-map-keys": _distinct}
)


@functools.cache
def _published(kubernetes: str, api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    definitions, registry = _definitions(kubernetes)
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "kind": kind, "version": version}
    for name, definition in definitions.items():
        # By group, version and kind as the server registers them; file names have no full group.
        if wanted in definition.get("x-kubernetes-group-version-kind", ()):
            reference = {"$ref": f"https://kubernetes.io/api/{_DEFINITIONS}#/$defs/{name}"}
            return _Validator(reference, registry=registry)
    return None


@functools.cache
def _definitions(kubernetes: str) -> tuple[dict[str, Any], Registry[Any]]:
    """Load a version's schemas; a version that the package does not have fails, as an older one would not be told."""
    if kubernetes not in KUBERNETES:
        raise ValueError(f"{kubernetes} is none of {', '.join(KUBERNETES)}")
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{kubernetes}.0-local-strict"
    contents = json.loads((folder / _DEFINITIONS).read_text())
    for path, rule in _RULES_OF_SERVERS.items():
        _add(contents["$defs"], path.split("/"), rule)
    resource: Resource[Any] = Resource.from_contents(contents)
    return contents["$defs"], resource @ Registry()


def _add(schemas: dict[str, Any], path: list[str], rule: dict[str, Any]) -> None:
    schema = schemas
    for part in path:
        schema = schema[part]
    schema.update(rule)
    schema.pop("oneOf", None)  # text or number, which the rule says more closely


@functools.cache
def _ours(api_version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    group, _, version = api_version.rpartition("/")
    file = SCHEMAS / group / f"{kind}.{version}.yaml"
    if not file.exists():
        return None
    spec = {"$id": f"{_HOME}/{group}.{kind}", **closed(yaml.safe_load(file.read_text()))}
    jsonschema.Draft202012Validator.check_schema(spec)
    schema = {
        "$id": f"{_HOME}/{group}.{kind}.whole",
        "type": "object",
        # `status` belongs to the operator, and no kind that the charts make has anything else.
        "properties": {"apiVersion": {}, "kind": {}, "metadata": {"$ref": f"{_HOME}/shared#/$defs/meta"}, "spec": spec},
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }
    return _Validator(schema, registry=_shared())


def closed(schema: Any) -> Any:
    """Forbid what a schema does not name, wherever it names something; it need not say so each time."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if isinstance(parts.get("properties"), dict):
        parts.setdefault("additionalProperties", False)
        parts.setdefault("type", "object")
    return parts


@functools.cache
def _shared() -> Registry[Any]:
    """Offer shared.yaml to the schemas as `shared`, and everything of the newest Kubernetes, which operators embed."""
    definitions = closed(yaml.safe_load((SCHEMAS / "shared.yaml").read_text()))
    _, registry = _definitions(KUBERNETES[-1])
    resource: Resource[Any] = DRAFT202012.create_resource(definitions)
    return resource @ registry
