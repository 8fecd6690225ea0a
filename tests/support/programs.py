"""Servers that come from the system's packages and not with the Python environment."""

import os
import shutil
import sys

import pytest

# Debian keeps servers out of an ordinary user's PATH.
SEARCHED = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin:/opt/homebrew/bin"


def find_program(name: str) -> str | None:
    """Find a server; None where `make twin-deps`, or `make observe-deps`, has not run."""
    return shutil.which(name) or shutil.which(name, path=SEARCHED)


def require_program(name: str) -> str:
    """Find a server, or skip the test; in CI, where both have run before, fail it."""
    program = find_program(name)
    if program is not None:
        return program
    reason = f"{name} is not installed: make twin-deps observe-deps"
    if os.environ.get("CI") and sys.platform == "linux":
        pytest.fail(reason)
    pytest.skip(reason)
