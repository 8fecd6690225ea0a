"""Run `telemed serve …` or `telemed work`, and start it again when a file of the code changes; for the dev image.

Any other command is run as it is. Looks at the files twice a second: events of the kernel get lost in some file systems
of containers, and a look at two hundred files takes a few milliseconds. Standard library only.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CODE = Path(os.environ.get("RELOAD_FOLDER") or Path(__file__).resolve().parents[1] / "telemed")
WATCHED = {"serve", "work"}
LOOK_EVERY_SECONDS = 0.5
# A process that does not end after SIGINT hangs on what was just written.
PATIENCE_SECONDS = 10.0

Look = dict[str, tuple[int, int]]


class Reloader:
    """One child at a time. SIGTERM and SIGINT are passed on to it, and end the watch with its exit code."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._is_stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)

    def run(self) -> int:
        """Watch until a signal comes; a child that ends by itself is started again by the next change."""
        seen = look()
        self._start()
        while not self._is_stopped:
            time.sleep(LOOK_EVERY_SECONDS)
            found = look()
            if found != seen and not self._is_stopped:
                seen = settled(found)
                say("the code changed")
                self._end()
                self._start()
        return self._child.wait() if self._child else 0

    def _start(self) -> None:
        if not self._is_stopped:
            self._child = subprocess.Popen(self._command)

    def _end(self) -> None:
        """End the child without a drain: SIGINT leaves it out, as nobody waits for what runs here."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _pass_on(self, number: int, _frame: object) -> None:
        self._is_stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def look() -> Look:
    """Tell every Python file of the code apart by its time and size."""
    found = {}
    for path in CODE.rglob("*.py"):
        try:
            state = path.stat()
        except FileNotFoundError:  # replaced between the two
            continue
        found[str(path)] = (state.st_mtime_ns, state.st_size)
    return found


def settled(found: Look) -> Look:
    """Wait until nothing changes any more: many files are copied one after the other."""
    while True:
        time.sleep(LOOK_EVERY_SECONDS)
        again = look()
        if again == found:
            return again
        found = again


def say(sentence: str) -> None:
    """Report, where the process that is watched reports as well."""
    sys.stderr.write(f"reload: {sentence}\n")


def main(arguments: list[str]) -> int:
    """Watch what lasts, and become what does not."""
    command = ["telemed", *arguments]
    if not WATCHED & set(arguments[:1]):
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    return Reloader(command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
