"""skaffold.yaml as Skaffold reads it: the fields of its schema v4beta14 that we use, with profiles applied."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import yaml

FILE = Path(__file__).parents[2] / "skaffold.yaml"
Config = dict[str, Any]

_TEXT: Config = {"type": "string", "minLength": 1}
_TEXTS: Config = {"type": "array", "items": _TEXT}


def _closed(properties: Config, *required: str) -> Config:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_HOOKS = {
    "type": "array",
    "items": _closed({"host": _closed({"command": _TEXTS, "dir": _TEXT, "os": _TEXTS}, "command")}, "host"),
}
_SYNC_RULE = _closed({"src": _TEXT, "dest": _TEXT, "strip": _TEXT}, "src", "dest")
_ARTIFACT = _closed(
    {
        "image": _TEXT,
        "context": _TEXT,
        "docker": _closed({"dockerfile": _TEXT, "target": _TEXT, "buildArgs": {"type": "object"}}),
        "sync": _closed(
            {
                "manual": {
                    "type": "array",
                    "items": _closed({"src": _TEXT, "dest": _TEXT, "strip": _TEXT}, "src", "dest"),
                }
            }
        ),
    },
    "image",
)
_TAGS = {
    **_closed(
        {
            "inputDigest": {"type": "object", "maxProperties": 0},
            "gitCommit": _closed({"variant": {"enum": ["Tags", "CommitSha", "AbbrevCommitSha", "TreeSha"]}}),
        }
    ),
    "maxProperties": 1,
}
_RELEASE = _closed(
    {
        "name": _TEXT,
        "chartPath": _TEXT,
        "namespace": _TEXT,
        "valuesFiles": _TEXTS,
        "setValueTemplates": {"type": "object", "additionalProperties": _TEXT},
        "dependsOn": _TEXTS,
        "wait": {"type": "boolean"},
    },
    "name",
)
_DEPLOY = _closed(
    {
        "statusCheckDeadlineSeconds": {"type": "integer"},
        "helm": _closed(
            {
                "releases": {"type": "array", "items": _RELEASE},
                "hooks": _closed({"before": _HOOKS, "after": _HOOKS}),
            },
            "releases",
        ),
    }
)
_FORWARD = _closed(
    {
        "resourceType": {"enum": ["service", "deployment", "pod"]},
        "resourceName": _TEXT,
        "namespace": _TEXT,
        "port": {"type": "integer"},
        "localPort": {"type": "integer"},
    },
    "resourceType",
    "resourceName",
    "port",
)
_SECTIONS: Config = {
    "build": _closed(
        {
            "artifacts": {"type": "array", "items": _ARTIFACT},
            "tagPolicy": _TAGS,
            "local": _closed({"push": {"type": "boolean"}, "useBuildkit": {"type": "boolean"}}),
        }
    ),
    "deploy": _DEPLOY,
    "portForward": {"type": "array", "items": _FORWARD},
}
_PATCH = _closed({"op": {"enum": ["add", "replace", "remove"]}, "path": {"type": "string"}, "value": {}}, "op", "path")
_PROFILE = _closed({"name": _TEXT, "patches": {"type": "array", "items": _PATCH}}, "name")
SCHEMA = _closed(
    {
        "apiVersion": {"const": "skaffold/v4beta14"},
        "kind": {"const": "Config"},
        "metadata": _closed({"name": _TEXT}, "name"),
        "requires": {"type": "array", "items": _closed({"configs": _TEXTS})},
        "profiles": {"type": "array", "items": _PROFILE},
        **_SECTIONS,
    },
    "apiVersion",
    "kind",
)


def configs(*profiles: str) -> dict[str, Config]:
    """Return the configurations of the file by name, with these profiles applied to those that have them.

    Raises:
        jsonschema.ValidationError: a field that the schema does not have, before or after.
    """
    found = list(yaml.safe_load_all(FILE.read_text()))
    for config in found:
        jsonschema.validate(config, SCHEMA)
        known = {profile["name"]: profile for profile in config.get("profiles", [])}
        for name in profiles:
            for patch in known.get(name, {}).get("patches", []):
                _apply(config, patch)
        jsonschema.validate(config, SCHEMA)
    return {config["metadata"]["name"]: config for config in found}


def profile_names() -> set[str]:
    """Return the names of all profiles."""
    return {p["name"] for config in yaml.safe_load_all(FILE.read_text()) for p in config.get("profiles", [])}


def _apply(config: Config, patch: Config) -> None:
    *way, last = patch["path"].split("/")[1:]
    place: Any = config
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    value = copy.deepcopy(patch.get("value"))
    if isinstance(place, list):
        assert (patch["op"], last) == ("add", "-")
        place.append(value)
        return
    assert (last in place) == (patch["op"] == "replace"), patch
    place[last] = value
