"""Render a chart as its users do, with the real Helm, and read what comes out as strictly as an API server.

The same request is rendered once a process. A chart is known by its content, so one that was changed in place is
rendered anew.
"""

import functools
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.charts.programs import program

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")  # the versions that are promised
NEWEST = KUBERNETES[-1]

Object = dict[str, Any]  # a Kubernetes object: whatever shape it has is what is tested
Values = Mapping[str, Any] | Path


class HelmFailed(Exception):
    """Helm refused, or warned; the message is Helm's."""


@dataclass(frozen=True)
class _Request:
    chart: str
    content: str
    options: tuple[str, ...]
    values: tuple[str, ...]
    helm: str


def render(
    chart: str | Path,
    *values: Values,
    release: str | None = None,
    namespace: str | None = None,
    sets: tuple[str, ...] = (),
    kubernetes: str = NEWEST,
    api_versions: tuple[str, ...] = (),
    is_upgrade: bool = False,
    helm: str = "helm",
    afresh: bool = False,
) -> str:
    """Return what the chart becomes: of *chart*, a name in charts/ or a folder, with values files or mappings.

    Release and namespace are named like the chart unless said otherwise. *afresh* renders again what is known.

    Raises:
        HelmFailed: Helm refused the values or the templates, or had something to say besides the result.
    """
    folder = CHARTS / chart if isinstance(chart, str) else chart
    options = [
        release or folder.name,
        str(folder),
        f"--namespace={namespace or folder.name}",
        # In full: Helm 4 hands a shorter one to the templates as it is, Helm 3 completes it.
        f"--kube-version={kubernetes}.0",
        *(f"--set={text}" for text in sets),
        *(f"--api-versions={name}" for name in api_versions),
        *(["--is-upgrade"] if is_upgrade else []),
    ]
    texts = tuple(value.read_text() if isinstance(value, Path) else json.dumps(value) for value in values)
    request = _Request(str(folder), content_of(folder), tuple(options), texts, helm)
    return _template.__wrapped__(request) if afresh else _template(request)


def render_objects(
    chart: str | Path,
    *values: Values,
    **options: Any,
) -> list[Object]:
    """Render and parse; the objects are the caller's own, to change as they like."""
    return parse(render(chart, *values, **options))


def parse(text: str) -> list[Object]:
    """Return the objects of a rendering, in their order.

    Raises:
        ValueError: a document is no object, or a key is there twice, of which YAML readers silently keep the last.
    """
    return [_require_object(document) for document in yaml.load_all(text, Loader=_Loader) if document is not None]


def documents(text: str) -> list[str]:
    """Return the documents of a rendering without the empty lines around them, which each Helm writes differently."""
    return [document.strip() for document in f"\n{text}".split("\n---\n") if document.strip()]


def run_helm(*arguments: str, helm: str = "helm") -> str:
    """Run Helm apart from the developer's own configuration and cluster, and return what it says.

    Raises:
        HelmFailed: it refused or warned.
    """
    with tempfile.TemporaryDirectory(prefix="telemed-helm-") as home:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "KUBECONFIG": os.devnull,
            "HELM_CACHE_HOME": home,
            "HELM_CONFIG_HOME": home,
            "HELM_DATA_HOME": home,
        }
        answer = subprocess.run(
            [program(helm), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
    if answer.returncode != 0 or answer.stderr:
        raise HelmFailed(answer.stderr or answer.stdout)
    return answer.stdout


def content_of(folder: Path) -> str:
    """Return a fingerprint of all files of a chart."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _template(request: _Request) -> str:
    with tempfile.TemporaryDirectory(prefix="telemed-values-") as folder:
        files = []
        for number, text in enumerate(request.values):
            file = Path(folder) / f"{number}.yaml"
            file.write_text(text)
            files.append(f"--values={file}")
        return run_helm("template", *request.options, *files, helm=request.helm)


def _require_object(document: object) -> Object:
    if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
        raise ValueError(f"not a Kubernetes object: {document!r:.200}")
    return document


class _Loader(yaml.CSafeLoader):
    """Reads plain YAML and refuses a mapping that says something twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key in _repeated(node):
            raise ValueError(f"{key} is there twice, the second time at line {node.start_mark.line + 1} or later")
        return super().construct_mapping(node, deep)


def _repeated(node: yaml.MappingNode) -> Iterator[str]:
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            yield key.value
        seen.add(key.value)
