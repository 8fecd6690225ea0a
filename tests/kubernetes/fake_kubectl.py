"""As much of kubectl as our scripts use, on a folder in place of a cluster: `get`, `create` and `apply`."""

import base64
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

CLUSTER = Path(os.environ["FAKE_CLUSTER"])


def main(arguments: list[str]) -> int:
    if arguments[0] == "--namespace":  # may stand before the verb
        arguments = arguments[2:] + arguments[:2]
    verb = arguments.pop(0)
    options = dict(itertools.pairwise(arguments))
    if verb == "create":
        return create(yaml.safe_load(sys.stdin.read()))
    if verb == "apply":
        return apply(sys.stdin.read() if options["--filename"] == "-" else Path(options["--filename"]).read_text())
    kind, name = arguments[:2]
    if kind == "namespace":
        return 0 if (CLUSTER / name).is_dir() else fail(f'namespaces "{name}" not found')
    if kind == "deployment":
        return described(CLUSTER / options["--namespace"] / f"deployment-{name}", options["--output"])
    path = CLUSTER / options["--namespace"] / name
    if not path.exists():
        return 0 if "--ignore-not-found" in arguments else fail(f'secrets "{name}" not found')
    return show(name, yaml.safe_load(path.read_text()), options["--output"])


def create(manifest: dict[str, Any]) -> int:
    path = CLUSTER / manifest["metadata"]["namespace"] / manifest["metadata"]["name"]
    if path.exists():
        return fail(f'secrets "{path.name}" already exists')
    path.write_text(yaml.safe_dump(manifest))
    return 0


def apply(text: str) -> int:
    manifest = yaml.safe_load(text)
    name = manifest["metadata"]["name"]
    if manifest["kind"] == "Namespace":
        (CLUSTER / name).mkdir(exist_ok=True)
    else:
        (CLUSTER / manifest["metadata"]["namespace"] / name).write_text(yaml.safe_dump(manifest))
    return 0


def described(path: Path, output: str) -> int:
    """Let the real kubectl read the template: it does that for a file as well."""
    if not path.exists():
        return fail(f'deployments.apps "{path.name}" not found')
    real = [os.environ["REAL_KUBECTL"], "patch", "--local", "--filename", str(path), "--type", "merge"]
    return subprocess.run([*real, "--patch", "{}", "--output", output], check=False).returncode


def show(name: str, manifest: dict[str, Any], output: str) -> int:
    if output == "name":
        sys.stdout.write(f"secret/{name}\n")
        return 0
    match = re.fullmatch(r'go-template=\{\{index \.data "([^"]+)" \| base64decode\}\}', output)
    if match is None:
        return fail(f"unknown output {output}")
    sys.stdout.write(base64.b64decode(manifest["data"][match.group(1)]).decode())
    return 0


def fail(sentence: str) -> int:
    sys.stderr.write(f"Error from server: {sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
