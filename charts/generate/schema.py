"""`values.schema.json` of each chart: a hand-written part, the comments of the values, and `telemed`'s settings."""

import json
from pathlib import Path
from typing import Any

import yaml
from charts.generate.commented import entries
from charts.generate.settings import Schema, secret_names, settings_schema

HAND_WRITTEN = Path(__file__).parent  # CHART.schema.yaml
# Given by the chart itself, where they are needed: to the migration, and where tokens are signed with a shared secret.
_NOT_WANTED = frozenset({"OWNER_DATABASE_URL", "JWT_SECRET"})


def schema_text(values: Path) -> str:
    """Give the file's content for the chart of these values."""
    chart = values.parent.name
    schema = yaml.safe_load((HAND_WRITTEN / f"{chart}.schema.yaml").read_text())
    definitions = schema["definitions"]
    if chart == "telemed":
        _add_settings(schema, definitions)
    for entry in entries(values):
        _describe(schema, definitions, entry.path, entry.words)
    schema = _complete(schema, yaml.safe_load(values.read_text()), definitions)
    _close(schema)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _add_settings(schema: Schema, definitions: Schema) -> None:
    """Add what the application reads from its environment."""
    definitions["settings"] = settings_schema()
    names = {"secretNames": secret_names(), "wantedSecretNames": [n for n in secret_names() if n not in _NOT_WANTED]}
    _include(schema, definitions, names)


def _include(part: Any, definitions: Schema, names: dict[str, list[str]]) -> None:  # any part of a schema
    """Put in place of `propertiesOf` the properties of a definition, or one (`each`) for every name of a list."""
    if isinstance(part, dict):
        source = part.pop("propertiesOf", None)
        if source in names:
            part["properties"] = {name: dict(part["each"]) for name in names[source]}
        elif source is not None:
            part["properties"] = {**definitions[source]["properties"], **part.get("properties", {})}
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _include(below, definitions, names)


def _describe(schema: Schema, definitions: Schema, path: tuple[str, ...], words: str) -> None:
    """Add what a value's comment says, where the schema has the value by its path.

    Raises:
        KeyError: the schema lacks the value.
    """
    part = schema
    for name in path:
        below = _resolved(part, definitions)
        if name not in below.get("properties", {}):
            # One of many whose names are open (components): described where it stands, not in the schema.
            if "patternProperties" in below:
                return
            raise KeyError(".".join(path))
        part = below["properties"][name]
    if words and "description" not in part:
        part["description"] = words


def _complete(part: Schema, default: object, definitions: Schema) -> Schema:
    """Give the part with everything required that the defaults hold: `null` takes a default away, and must not.

    What is shared by reference stays open where it is said again for a component, and is copied here to be complete.
    """
    resolved = _resolved(part, definitions)
    listed = resolved.get("properties", {})
    if not isinstance(default, dict) or not default or not listed or "each" in resolved:
        return part
    below = {name: _complete(listed[name], default.get(name), definitions) for name in listed}
    return {**resolved, "required": [name for name in listed if name in default], "properties": below}


def _resolved(part: Schema, definitions: Schema) -> Schema:
    reference = part.get("$ref")
    return definitions[reference.removeprefix("#/definitions/")] if reference else part


def _close(part: Any) -> None:  # any part of a schema
    """Refuse unknown keys wherever the known ones are listed, or their form; leave out what only we understand."""
    if isinstance(part, dict):
        part.pop("each", None)
    if isinstance(part, dict) and {"properties", "patternProperties"} & part.keys():
        part.setdefault("additionalProperties", False)
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(below)
