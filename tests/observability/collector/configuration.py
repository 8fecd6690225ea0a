"""The collector's configuration as the collector reads it: files laid over each other, variables filled in."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[3] / "observability" / "collector"
CONFIG = FOLDER / "config.yaml"
WITHOUT_KUBERNETES = FOLDER / "without-kubernetes.yaml"
FRONT = FOLDER / "front.yaml"
KINDS = ("receivers", "processors", "connectors", "exporters")
_VARIABLE = re.compile(r"\$\{env:(\w+)(?::-([^}]*))?\}")

Document = dict[str, Any]  # YAML


def read(*files: Path, **environment: str) -> Document:
    """Read the files one over the other, as `--config` given several times: mappings are merged, all else is replaced.

    A variable without a value becomes the empty text, as it does in the collector.
    """
    document: Document = {}
    for file in files:
        text = _VARIABLE.sub(lambda found: environment.get(found[1], found[2] or ""), file.read_text())
        document = _merged(document, yaml.safe_load(text))
    return document


def variables(file: Path) -> set[str]:
    """Give the names of the variables that a file asks for."""
    return {name for name, _ in _VARIABLE.findall(file.read_text())} | set(
        re.findall(r"^#   ([A-Z_]{4,}) ", file.read_text(), re.MULTILINE)
    ) & {"GOMEMLIMIT"}


def documented(file: Path) -> set[str]:
    """Give the names of the variables that the file's head explains."""
    return set(re.findall(r"^#   ([A-Z_]{4,}) ", file.read_text(), re.MULTILINE))


def pipelines(document: Document) -> dict[str, Document]:
    """Give the pipelines by their names."""
    found: dict[str, Document] = document["service"]["pipelines"]
    return found


def used(document: Document) -> dict[str, set[str]]:
    """Give what the service uses, by kind; a connector is used where it ends one pipeline and begins another."""
    begins = {name for pipeline in pipelines(document).values() for name in pipeline["receivers"]}
    ends = {name for pipeline in pipelines(document).values() for name in pipeline["exporters"]}
    connectors = begins & ends
    return {
        "receivers": begins - connectors,
        "processors": {name for pipeline in pipelines(document).values() for name in pipeline.get("processors", [])},
        "connectors": connectors,
        "exporters": ends - connectors,
        "extensions": set(document["service"]["extensions"]),
    }


def way(document: Document, receiver: str) -> list[str]:
    """Give every component that a span from *receiver* may pass, each pipeline in its order, the nearest first."""
    passed: list[str] = []
    for pipeline in pipelines(document).values():
        if receiver in pipeline["receivers"]:
            passed += [receiver, *pipeline.get("processors", []), *pipeline["exporters"]]
            for exporter in pipeline["exporters"]:
                passed += way(document, exporter)
    return passed


def keys(document: Any) -> Iterator[str]:
    """Give every key at any depth."""
    if isinstance(document, dict):
        yield from document
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from keys(part)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Document:
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result
