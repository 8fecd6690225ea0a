"""What is checked before anything is started, so that a start that cannot succeed changes nothing."""

import os
import shutil

from telemed.local.problems import LocalProblem
from telemed.local.processes import is_answered, is_port_free
from telemed.local.state import StateFolder

DEFAULT_PORT = 3000
# What fits in a new data folder with the demo in it, and what a start needs in one that exists.
FIRST_START_BYTES = 250 * 1024 * 1024
NEXT_START_BYTES = 32 * 1024 * 1024


def given_port(port: int | None) -> int:
    """Return the port to serve on: the argument, else PORT of the environment, else 3000."""
    given = str(port) if port is not None else os.environ.get("PORT") or str(DEFAULT_PORT)
    if not given.isdigit() or not 1 <= int(given) <= 65535:
        raise LocalProblem(f"PORT must be a number from 1 to 65535, not {given!r}.")
    return int(given)


def require_free(port: int) -> None:
    """Refuse a port that another program answers on, or that only root may use."""
    try:
        is_free = is_port_free(port) and not is_answered(port)
    except PermissionError:
        raise LocalProblem(f"Port {port} is reserved for root: choose another one, `make run PORT=3001`.") from None
    if not is_free:
        raise LocalProblem(f"Port {port} is in use by another program: choose another, `make run PORT={port + 1}`.")


def require_space(state: StateFolder) -> None:
    """Refuse early: a database that finds the disk full in its first start leaves rubbish."""
    needed = NEXT_START_BYTES if state.seeded_stamp.exists() else FIRST_START_BYTES
    if shutil.disk_usage(state.home).free < needed:
        raise LocalProblem(
            f"The disk that holds {state.home} is full: free {needed // 1024**2} MB, or set TELEMED_HOME to "
            "a folder on another disk."
        )
