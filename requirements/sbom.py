"""Write the software bill of materials of the image: what requirements/runtime.lock brings to Linux, as CycloneDX 1.6.

    python requirements/sbom.py dist/telemed.cdx.json

Names, versions and hashes come from the lock; licences and who needs whom from the installed environment, which holds
the same versions. The same lock gives the same bytes. Run by `make sbom`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "runtime.lock"
DOCKERFILE = ROOT / "services" / "Dockerfile"
OPTIONS = ["--spec-version", "1.6", "--output-reproducible", "--output-file", "-"]
# Two ways to say the same; the first is the one that programs understand.
CLASSIFIER = "License :: "


# Packages whose metadata say their licence in words that are no identifier and no classifier.
SAID_IN_WORDS = {
    "protobuf": [{"license": {"acknowledgement": "concluded", "id": "BSD-3-Clause"}}],  # "3-Clause BSD License"
}


class Refusal(Exception):
    """The list cannot be written; the message is the one sentence that the developer sees."""


def main(arguments):
    """Write the file that the argument names; return the exit code."""
    if len(arguments) != 1:
        print("usage: sbom.py FILE", file=sys.stderr)
        return 2
    try:
        text = json.dumps(bill(), indent=2, sort_keys=True) + "\n"
    except Refusal as refusal:
        print(f"telemed: {refusal}", file=sys.stderr)
        return 1
    path = Path(arguments[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"Wrote {path}.")
    return 0


def bill():
    """Put together what the lock and the environment know."""
    locked = _tool("requirements", str(LOCK), "--pyproject", str(ROOT / "pyproject.toml"))
    installed = _tool("environment", sys.executable)
    present = {canonicalize_name(part["name"]): part for part in installed["components"]}
    wanted = _wanted()
    components = {
        name: _component(part, present)
        for part in locked["components"]
        if (name := canonicalize_name(part["name"])) in wanted
    }
    root = {**locked["metadata"]["component"], "bom-ref": "telemed"}
    names = {part["bom-ref"]: canonicalize_name(part["name"]) for part in installed["components"]}
    needs = {
        names[edge["ref"]]: [names[other] for other in edge.get("dependsOn", []) if other in names]
        for edge in installed["dependencies"]
        if edge["ref"] in names
    }
    edges = {part["bom-ref"]: _references(needs.get(name, []), components) for name, part in components.items()}
    edges["telemed"] = _references(needs.get("telemed", []), components)
    return {
        **locked,
        "metadata": {**locked["metadata"], "component": root},
        "components": [components[name] for name in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": edges[ref]} for ref in sorted(edges)],
    }


def _component(part, present):
    """Add to a locked package what only the installed one knows: its licences and what it is."""
    twin = present.get(canonicalize_name(part["name"]))
    if twin is None or twin["version"] != part["version"]:
        has = f"has {twin['version']}" if twin else "lacks it"
        raise Refusal(f"{part['name']} {part['version']} is locked, but the environment {has}: run `make test` once.")
    licences = twin.get("licenses") or SAID_IN_WORDS.get(canonicalize_name(part["name"]))
    if not licences:
        raise Refusal(f"{part['name']} {part['version']} does not say its licence.")
    return {
        **part,
        "bom-ref": part["purl"],
        "description": twin.get("description", part["name"]),
        "licenses": _licences(licences),
    }


def _licences(found):
    clear = [each for each in found if not each.get("license", {}).get("name", "").startswith(CLASSIFIER)]
    return clear or found


def _references(names, components):
    return sorted({components[name]["bom-ref"] for name in names if name in components})


def _wanted():
    """Read which locked packages the image installs: those whose markers hold on Linux, with its Python."""
    python = re.search(r"^ARG PYTHON_IMAGE=python:([0-9.]+)-", DOCKERFILE.read_text(), re.MULTILINE).group(1)
    image = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
    }
    lines = re.findall(r"^[a-zA-Z0-9].*?(?= \\$|$)", LOCK.read_text(), re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name) for each in requirements if each.marker is None or each.marker.evaluate(image)}


def _tool(*arguments):
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", *arguments, *OPTIONS],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise Refusal(f"cyclonedx-py refused: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
