"""What the chart `telemed` may be told of the application: from `Settings` itself, so that the two cannot disagree."""

import re
from pathlib import Path
from typing import Any

from telemed.kernel.settings import Settings

Schema = dict[str, Any]  # JSON Schema is an open vocabulary

README = Path(__file__).parents[2] / "README.md"

# What the chart decides itself: ports, and the files that it mounts.
OF_THE_CHART = frozenset({"PORT", "MANAGEMENT_PORT", "JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEY_FILES"})
# One login for everything, and its password: on Kubernetes each role has an address of its own.
OF_ONE_HOST = frozenset({"POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"})
# Belongs to whoever exports the trail, not to the services.
OF_EXPORTERS = frozenset({"AUDIT_SIGNING_KEY_FILE"})
_LEFT_OUT = OF_THE_CHART | OF_ONE_HOST | OF_EXPORTERS
# Addresses to listen on: in a pod all of them, by IPv4 or by IPv6.
_HOSTS = {"type": "string", "enum": ["0.0.0.0", "::"]}  # noqa: S104 - that is the point of a pod


def settings_schema() -> Schema:
    """Give the schema of every setting that is no secret, by the environment variable's name."""
    described = _meanings()
    properties = {}
    for name, schema in _fields().items():
        if not _is_secret(schema):
            words = f"{described[name]} (default: {_default(name)})"
            properties[name] = {"description": words, **(_HOSTS if name == "HOST" else _plain(schema))}
    return {"type": "object", "properties": properties}


def secret_names() -> list[str]:
    """Give the names of the variables that are secret."""
    return [name for name, schema in _fields().items() if _is_secret(schema)]


def _fields() -> dict[str, Schema]:
    properties = Settings.model_json_schema()["properties"]
    return {name.upper(): schema for name, schema in properties.items() if name.upper() not in _LEFT_OUT}


def _is_secret(schema: Schema) -> bool:
    return "password" in {part.get("format") for part in (*schema.get("anyOf", ()), schema.get("items", {}), schema)}


def _plain(schema: Schema) -> Schema:
    """Leave only what values are checked by; "not given" is said by not giving it."""
    (schema,) = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    kept = {key: schema[key] for key in sorted(schema) if key not in {"title", "default", "format"}}
    # Empty is ignored by the application, hence no way to say anything.
    return {"minLength": 1, **kept} if kept["type"] == "string" and "enum" not in kept else kept


def _default(name: str) -> str:
    default = Settings.model_fields[name.lower()].default
    return "none" if default in (None, []) else str(default)


def _meanings() -> dict[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\|([^|]*)\|$", README.read_text(), re.MULTILINE)
    # Links lead elsewhere from where they are read now.
    return {name: re.sub(r"\s*\(\[.*?\]\(.*?\)\)", "", words).strip() or name for name, words in rows}
