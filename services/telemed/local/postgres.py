"""An embedded PostgreSQL: made once, started, waited for, stopped, and found again after a crash."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from telemed.local.account import Account, private_folder, server_account, write_private
from telemed.local.binaries import PostgresPrograms, postgres_programs
from telemed.local.problems import LocalProblem, explain_log
from telemed.local.processes import (
    Guard,
    Program,
    Running,
    command_line,
    free_port,
    is_port_free,
    run_as,
    stop_leftover,
    wait_until,
)

SUPERUSER = "postgres"
START_WITHIN_SECONDS = 60.0  # recovery after a crash reads the log of changes back
BIND_ATTEMPTS = 5  # a port that was free a moment ago can be taken by somebody else

# Small on purpose: it shares a laptop with a browser. All of it can be overridden by the caller.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, a checkout's path more
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Never patient data: values of statements that failed, and the rows that a violated constraint quotes.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "jit": "off",  # it costs more than it gains on short queries
    "idle_in_transaction_session_timeout": "60s",  # backstop: a lost session must not hold row locks for ever
}


@dataclass(frozen=True)
class PostgresServer:
    """A server that accepts connections on 127.0.0.1."""

    running: Running
    port: int
    password: str
    version: str

    def dsn(self, database: str = "postgres") -> str:
        """Address for the superuser."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop it in order: open transactions are rolled back, everything committed is on disk."""
        self.running.stop(within_seconds=20)


def start_postgres(folder: Path, guard: Guard, settings: Mapping[str, str] | None = None) -> PostgresServer:
    """Start the server whose data are in *folder*, making them first if there are none.

    Raises:
        LocalProblem: another version made the data, the disk is full, or it does not start.
    """
    account = server_account()
    private_folder(folder, account)
    programs = postgres_programs(account, folder / "programs")
    data = folder / "data"
    _stop_old_server(folder, data)
    if not data.exists():
        _initialise(programs, folder, account)
    _require_same_version(data, programs)
    remembered = folder / "port"
    ports = [int(remembered.read_text())] if remembered.exists() else []
    for _ in range(BIND_ATTEMPTS):
        port = ports.pop() if ports and is_port_free(ports[-1]) else free_port()
        running = _launch(programs, folder, port, account, guard, {**SETTINGS, **(settings or {})})
        if _is_ready(running, data):
            write_private(remembered, str(port), account)
            return PostgresServer(running, port, (folder / "superuser.password").read_text(), programs.version)
        running.stop()
        words = running.last_words()
        if "could not bind" not in words and "Address already in use" not in words:
            raise explain_log(words, folder) or LocalProblem(f"PostgreSQL did not start; the end of its log:\n{words}")
    raise LocalProblem("PostgreSQL found no free port on 127.0.0.1.")


def _stop_old_server(folder: Path, data: Path) -> None:
    """Stop what a killed start left, and clear a lock file that names a stranger.

    PostgreSQL itself clears a lock file whose process is gone, but not one whose number another process got.
    """
    stop_leftover(folder / "postgres.pid", [str(data)], signal.SIGINT)
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    first = lock.read_text().split("\n", 1)[0].strip()
    if first.isdigit() and command_line(int(first)) and str(data) not in command_line(int(first)):
        lock.unlink()


def _initialise(programs: PostgresPrograms, folder: Path, account: Account | None) -> None:
    """Make the data under another name and rename them: a half-made folder is never taken for a whole one."""
    password = secrets.token_urlsafe(24)
    write_private(folder / "superuser.password", password, account)
    draft = folder / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    command = [
        *(programs.folder / "initdb", "-D", draft, "--username", SUPERUSER, "--no-instructions"),
        *("--pwfile", folder / "superuser.password", "--auth", "scram-sha-256"),
        # macOS knows no C.UTF-8. The built-in provider sorts and folds case the same everywhere.
        *("--encoding", "UTF8", "--locale", "C.UTF-8" if sys.platform == "linux" else "C"),
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    ]
    answer = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=_environment(folder),
        timeout=120,
        start_new_session=True,
        **run_as(account),
    )
    if answer.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        words = answer.stdout + answer.stderr
        raise explain_log(words, folder) or LocalProblem(f"PostgreSQL could not make its data folder:\n{words.strip()}")
    draft.rename(folder / "data")


def _require_same_version(data: Path, programs: PostgresPrograms) -> None:
    stamp = data / "PG_VERSION"
    made_by = stamp.read_text().strip() if stamp.exists() else "an unknown version"
    if made_by != programs.major:
        raise LocalProblem(
            f"The data in {data} were made by PostgreSQL {made_by} and cannot be opened by {programs.major}: "
            "start afresh with `make clean`, or set TELEMED_HOME to another folder."
        )


def _launch(
    programs: PostgresPrograms,
    folder: Path,
    port: int,
    account: Account | None,
    guard: Guard,
    settings: Mapping[str, str],
) -> Running:
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Program(
        "PostgreSQL",
        [programs.folder / "postgres", "-D", folder / "data", "-p", str(port), *options],
        log=folder / "postgres.log",
        pid_file=folder / "postgres.pid",
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
        account=account,
        environment=_environment(folder),
        folder=folder,
    ).start(guard)


def _is_ready(running: Running, data: Path) -> bool:
    """Wait for the line that the server writes into its lock file when it accepts connections."""

    def settled() -> bool:
        return running.has_ended() or _status(data, running.pid) == "ready"

    return wait_until(settled, START_WITHIN_SECONDS) and not running.has_ended()


def _status(data: Path, pid: int) -> str:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return lines[7].strip() if len(lines) > 7 and lines[0].strip() == str(pid) else ""


def _environment(folder: Path) -> dict[str, str]:
    # Nothing of the developer's environment (PGDATA, PGPORT, LANG …) may change what is started. LC_ALL also
    # keeps macOS from loading a framework that starts threads, which PostgreSQL refuses.
    return {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}
