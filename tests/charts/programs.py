"""Where Helm and kubectl are: those that came with the environment, else those of this machine."""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

# What a program of this name has to say of itself, when it is the machine's own.
_VERSIONS = {"helm": r"v4\.", "helm3": r"v3\.", "kubectl": r"v1\."}
_ASK = {"helm": ["version", "--short"], "helm3": ["version", "--short"], "kubectl": ["version", "--client"]}


class MissingProgram(Exception):
    """A program is not on this machine; the message says how to get it."""


@functools.cache
def program(name: str) -> str:
    """Find `helm` (4), `helm3` or `kubectl`.

    Raises:
        MissingProgram: neither the environment nor PATH has one of the right version.
    """
    own = Path(sys.executable).parent / name
    if own.exists():
        return str(own)
    for candidate in (name, "helm") if name == "helm3" else (name,):
        found = shutil.which(candidate)
        if found and _is_version(found, name):
            return found
    raise MissingProgram(f"{name} is missing: `make install-dev` brings it on Linux with x86-64, elsewhere install it")


def must_be_there() -> bool:
    """Tell whether a missing program is a failure: in CI, where the environment brings it."""
    brought = platform.system() == "Linux" and platform.machine().lower() in {"x86_64", "amd64"}
    return brought and bool(os.environ.get("CI"))


def answer_of(found: str, name: str) -> str:
    """Ask a program for its version."""
    answer = subprocess.run([found, *_ASK[name]], check=False, capture_output=True, text=True, timeout=30)
    return answer.stdout


def _is_version(found: str, name: str) -> bool:
    return re.search(_VERSIONS[name], answer_of(found, name)) is not None
