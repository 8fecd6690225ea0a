"""A small process that stops the servers if the one that started them dies without doing so.

It runs as a plain script of the standard library, reads orders from its standard input and acts when that
ends: a pipe ends however its writer dies, SIGKILL included, on Linux and macOS alike, without polling.

Orders, one a line: `watch PID SIGNAL`, `forget PID`, `remove FOLDER`.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

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


def _stop(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # a frozen process takes no other signal
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        while time.monotonic() < deadline and not _is_dead(pid):
            os.kill(pid, 0)
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


def _is_dead(pid: int) -> bool:
    """Tell whether only its entry is left, as in a container whose first process collects no orphans."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - pathlib would double the time to start
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


if __name__ == "__main__":
    main()
