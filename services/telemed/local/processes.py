"""Processes that the platform starts: in sessions of their own, watched by the guard, surely stopped."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypedDict

from telemed.local import guard as guard_script
from telemed.local.account import Account

TAIL_LINES = 15


class Guard:
    """Stops what it watches when this process dies, by whatever cause."""

    def __init__(self) -> None:
        # -S -E: nothing of the environment may keep it from starting, and it needs only the standard library.
        # Its own session: Ctrl-C in the terminal must not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", guard_script.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._watched: list[Running] = []

    def watch(self, running: "Running") -> None:
        """Stop this process when ours is gone."""
        self._watched.append(running)
        self._order(f"watch {running.pid} {int(running.stop_signal)}")

    def forget(self, running: "Running") -> None:
        """Call after the process has been waited for: its number may soon be another's."""
        if running in self._watched:
            self._watched.remove(running)
            self._order(f"forget {running.pid}")

    def remove(self, folder: Path) -> None:
        """Delete the folder once everything watched has stopped; also at an orderly end."""
        self._order(f"remove {folder}")

    def close(self) -> None:
        """Stop whatever is still watched, last started first, and end the guard."""
        for running in reversed(self._watched.copy()):
            running.stop()
        assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
        # A guard that somebody killed is a lost safety net, not a reason to stop the platform.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


@dataclass(eq=False)
class Running:
    """One process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    pid_file: Path
    stop_signal: signal.Signals
    guard: Guard

    @property
    def pid(self) -> int:
        """Its process id, which stays its own until `stop` has waited for it."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Tell whether it is gone."""
        return self.process.poll() is not None

    def ask_to_stop(self) -> None:
        """Send its signal without waiting; `stop` still has to be called."""
        if not self.has_ended():
            self.process.send_signal(self.stop_signal)
            self.process.send_signal(signal.SIGCONT)  # a frozen process takes no other signal

    def stop(self, within_seconds: float = 10.0) -> None:
        """Ask it to end, wait, then kill it; safe to call twice."""
        if not self.has_ended():
            family = guard_script.family_of(self.pid)
            self.ask_to_stop()
            guard_script.send_to(family, signal.SIGCONT)  # frozen children would not notice that it ends
            try:
                self.process.wait(within_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            guard_script.send_to(family, signal.SIGKILL)
        self.guard.forget(self)
        self.pid_file.unlink(missing_ok=True)

    def last_words(self) -> str:
        """Return the end of its log."""
        return tail(self.log)


@dataclass(frozen=True)
class Program:
    """How to start a process."""

    name: str
    command: Sequence[str | Path]
    log: Path
    pid_file: Path
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path | None = None

    def start(self, guard: Guard, *, shown: bool = False) -> Running:
        """Start it in its own session: Ctrl-C then reaches only us, and we stop things in order.

        *shown* lets its standard output through to ours; errors still go to the log.
        """
        with open_log(self.log) as log:
            process = subprocess.Popen(
                [str(part) for part in self.command],
                stdin=subprocess.DEVNULL,
                stdout=None if shown else log,
                stderr=log,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
                **run_as(self.account),
            )
        running = Running(self.name, process, self.log, self.pid_file, self.stop_signal, guard)
        guard.watch(running)
        self.pid_file.write_text(f"{process.pid}\n")
        return running


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that decide who runs the process."""

    user: int
    group: int
    extra_groups: list[int]


def run_as(account: Account | None) -> Identity:
    """Return what `subprocess` needs to become the account, without root's groups."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def open_log(path: Path) -> BinaryIO:
    """Open the log for this start; the one of the start before is kept beside it."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.old"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, or nothing if there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def wait_until(condition: Callable[[], bool], within_seconds: float, pause_seconds: float = 0.02) -> bool:
    """Ask again and again until it is true; False when the time is over."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)
    return True


def free_port() -> int:
    """Ask the kernel for a port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Try to bind it as a server would; raises OSError for other reasons than an address in use."""
    with socket.socket() as probe:
        # As servers do: connections that are still closing from the last run are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True


def is_answered(port: int) -> bool:
    """Tell whether somebody accepts connections there.

    Binding does not always tell: macOS lets two programs share a port when only one names the address, and
    `localhost` may be answered on ::1 by another program than the one on 127.0.0.1.
    """
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=0.5):
            return True
    return False


def stop_leftover(pid_file: Path, markers: Sequence[str], stop_signal: signal.Signals) -> bool:
    """Stop the process that an earlier, killed start left behind; True if there was one.

    All *markers* must occur in its command line: a stranger that got the same number since is left alone.
    """
    pid = _read_pid(pid_file)
    pid_file.unlink(missing_ok=True)

    def is_ours() -> bool:
        return pid is not None and all(marker in command_line(pid) for marker in markers)

    if pid is None or not is_ours():
        return False
    family = guard_script.family_of(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
        os.kill(pid, signal.SIGCONT)  # a frozen process takes no other signal
        guard_script.send_to(family, signal.SIGCONT)
        if not wait_until(lambda: not is_ours(), within_seconds=10):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_ours(), within_seconds=5)
    guard_script.send_to(family, signal.SIGKILL)
    return True


def command_line(pid: int) -> str:
    """Return how the process was started; empty if there is none, or only its remains."""
    proc = Path("/proc") / str(pid) / "cmdline"
    if Path("/proc/self/cmdline").exists():
        try:
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return answer.stdout


def _read_pid(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    return pid if pid > 1 else None
