"""A `telemed run` under test, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from telemed.local.platform import OWN_POSTGRES, OWN_REDIS
from telemed.local.processes import command_line, wait_until

DRIVER = Path(__file__).with_name("driver.py")
# What would change the start if the developer who runs the tests has it set.
HIDDEN = (*OWN_POSTGRES, *OWN_REDIS, "MANAGEMENT_PORT", "JWT_SECRET", "PEPPER")


class PlatformProcess:
    """One `telemed run`, as a developer starts it in a terminal."""

    def __init__(self, home: Path, port: int, scripts: dict[str, str]) -> None:
        self.home = home
        self.port = port
        environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(home), json.dumps(scripts)],
            env={**environment, "TELEMED_HOME": str(home), "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Wait until it has printed this."""
        found = wait_until(lambda: text in self.output or not self._reader.is_alive(), within_seconds=60)
        assert found, f"{text!r} did not come within a minute:\n{self.output}"
        assert text in self.output, self.output

    def stop(self, number: int = signal.SIGINT) -> int:
        """Signal it and return its exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self.lines.append(line)


def processes_of(home: Path) -> dict[int, str]:
    """Return everything that runs out of the state folder: servers, services, a supervisor."""
    if Path("/proc/self/cmdline").exists():
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    else:
        listing = subprocess.run(["ps", "-axo", "pid="], check=True, capture_output=True, text=True).stdout
        pids = [int(pid) for pid in listing.split()]
    lines = {pid: command_line(pid) for pid in pids}
    return {pid: line for pid, line in lines.items() if str(home) in line}
