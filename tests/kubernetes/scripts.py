"""Our scripts for a cluster, run on a folder in place of one."""

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.charts.programs import MissingProgram, program

ROOT = Path(__file__).parents[2]
Secrets = dict[tuple[str, str], dict[str, str]]  # by namespace and name: by key


def cluster_in(folder: Path) -> Path:
    """Make a cluster with the namespaces of application and data, and a kubectl beside it."""
    for namespace in ("telemed", "telemed-data"):
        (folder / "cluster" / namespace).mkdir(parents=True)
    stand_in = folder / "bin" / "kubectl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_kubectl.py")}" "$@"\n')
    stand_in.chmod(0o755)
    return folder / "cluster"


def call(script: Path, *arguments: str, cluster: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script; where there is a cluster, its kubectl is the first on the path."""
    path = "/usr/bin:/bin" if cluster is None else f"{cluster.parent / 'bin'}:/usr/bin:/bin"
    environment = {"PATH": path, "FAKE_CLUSTER": str(cluster), **_real_kubectl()}
    return subprocess.run(
        ["/bin/sh", str(script), *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def _real_kubectl() -> dict[str, str]:
    """Say where it is, if it is there."""
    try:
        return {"REAL_KUBECTL": program("kubectl")}
    except MissingProgram:
        return {}


def decoded(manifests: list[dict[str, Any]]) -> Secrets:
    """Give what is in Secrets."""
    return {
        (manifest["metadata"]["namespace"], manifest["metadata"]["name"]): {
            key: base64.b64decode(value).decode() for key, value in manifest["data"].items()
        }
        for manifest in manifests
    }
