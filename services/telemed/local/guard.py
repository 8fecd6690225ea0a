"""A small process that stops the servers if the one that started them dies without doing so.

It runs as a plain script of the standard library, reads orders from its standard input and acts when that
ends: a pipe ends however its writer dies, SIGKILL included, on Linux and macOS alike, without polling.

Orders, one a line: `watch PID SIGNAL`, `forget PID`, `remove FOLDER`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

# A server that has not stopped by then is killed: nothing may stay on the machine for ever.
STOP_WITHIN_SECONDS = 15.0


def main() -> None:
    """Take orders until the starter is gone, then stop what it left, last started first."""
    watched: dict[int, int] = {}
    folders: list[str] = []
    for line in sys.stdin:
        order, _, argument = line.rstrip("\n").partition(" ")
        if order == "watch":
            pid, _, number = argument.partition(" ")
            watched[int(pid)] = int(number)
        elif order == "forget":
            watched.pop(int(argument), None)
        elif order == "remove":
            folders.append(argument)
    for pid in reversed(watched):
        _stop(pid, watched[pid])
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def family_of(pid: int) -> dict[int, str]:
    """Give all that descend from the process, each with what tells it from a later one that got its number.

    To be asked while the process lives: nobody can tell afterwards whose its orphans were. PostgreSQL puts every child
    into a session of its own, so no process group holds them together.
    """
    children: dict[int, list[tuple[int, str]]] = {}
    for child, parent, started_at in _everybody():
        children.setdefault(parent, []).append((child, started_at))
    family: dict[int, str] = {}
    ancestors = [pid]
    for ancestor in ancestors:
        family.update(children.get(ancestor, []))
        ancestors += [child for child, _ in children.get(ancestor, [])]
    return family


def send_to(family: dict[int, str], number: int) -> None:
    """Signal those of the family who still are there."""
    for pid, _, started_at in _everybody():
        if family.get(pid) == started_at:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _stop(pid: int, number: int) -> None:
    family = family_of(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # a frozen process takes no other signal
        send_to(family, signal.SIGCONT)  # nor does one notice that its parent ends
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        while time.monotonic() < deadline and not _is_dead(pid):
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
    send_to(family, signal.SIGKILL)


def _is_dead(pid: int) -> bool:
    """Tell whether only its entry is left, as in a container whose first process collects no orphans."""
    try:
        return _status(pid)[0] == "Z"
    except OSError:
        return False


def _everybody() -> Iterator[tuple[int, int, str]]:
    """Give every process of this machine, with its parent and when it was started."""
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110 - as below
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,lstart="], check=True, capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            pid, parent, started_at = line.split(maxsplit=2)
            yield int(pid), int(parent), started_at.strip()
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 - as below
        if name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                status = _status(int(name))
                yield int(name), int(status[1]), status[19]


def _status(pid: int) -> list[str]:
    """Read what stands after its name, which may hold anything: state, parent, and as the twentieth its start."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - pathlib would double the time to start
        return stat.read().rpartition(")")[2].split()


if __name__ == "__main__":
    main()
