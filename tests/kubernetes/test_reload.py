"""The dev image starts its process again when the code changes, and ends it as the other image would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "services" / "image" / "reload.py"
# Stands for the process: says what happens to it. Fails at once while the code says so.
TELEMED = """#!{python}
import pathlib, signal, sys
log = open({log!r}, "a", buffering=1)
print("start", *sys.argv[1:], file=log)
if "broken" in pathlib.Path({code!r}, "module.py").read_text():
    print("broken", file=log)
    sys.exit(1)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
print("ready", file=log)
number = signal.sigwait([signal.SIGTERM, signal.SIGINT])
print(signal.Signals(number).name, file=log)
sys.exit(7)
"""


class Watched:
    """The reloader, and what its child reported."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "code"
        self._log = folder / "log"
        self.code.mkdir()
        self.write("one")
        program = folder / "bin" / "telemed"
        program.parent.mkdir()
        program.write_text(TELEMED.format(python=sys.executable, log=str(self._log), code=str(self.code)))
        program.chmod(0o755)
        self._environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "RELOAD_FOLDER": str(self.code)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, str(PROGRAM), *arguments], env=self._environment)

    def write(self, text: str) -> None:
        (self.code / "module.py").write_text(f"# {text}\n")

    def wait_for(self, *lines: str) -> None:
        deadline = time.monotonic() + 60
        while self.said() != list(lines):
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    if watched.process is not None:
        watched.process.terminate()
        watched.process.wait(30)


def test_a_change_starts_it_again(watched: Watched) -> None:
    """Without the drain, for which nobody waits here."""
    watched.start("serve", "all")
    watched.wait_for("start serve all", "ready")
    watched.write("two, and longer")
    watched.wait_for("start serve all", "ready", "SIGINT", "start serve all", "ready")


def test_broken_code_waits_for_the_next_change(watched: Watched) -> None:
    """The container goes on; started anew, it would lose what was copied into it."""
    watched.start("work")
    watched.wait_for("start work", "ready")
    watched.write("broken")
    watched.wait_for("start work", "ready", "SIGINT", "start work", "broken")
    watched.write("repaired")
    watched.wait_for("start work", "ready", "SIGINT", "start work", "broken", "start work", "ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_process(watched: Watched, number: signal.Signals) -> None:
    """And its exit code is the container's."""
    watched.start("serve", "all")
    watched.wait_for("start serve all", "ready")
    assert watched.process is not None
    os.kill(watched.process.pid, number)
    assert watched.process.wait(30) == 7
    assert watched.said()[2:] == [number.name]


def test_other_commands_are_just_run(watched: Watched) -> None:
    """A migration that ran again at every change would be a surprise."""
    watched.write("broken")
    watched.start("migrate")
    assert watched.process is not None
    assert watched.process.wait(30) == 1
    assert watched.said() == ["start migrate", "broken"]
