"""An embedded Valkey, the Redis-compatible cache: it keeps nothing, so it is made anew at each start."""

import secrets
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from telemed.local.account import private_folder, server_account, write_private
from telemed.local.binaries import valkey_program
from telemed.local.problems import LocalProblem, explain_log
from telemed.local.processes import (
    Guard,
    Program,
    Running,
    free_port,
    is_port_free,
    stop_leftover,
    wait_until,
)

START_WITHIN_SECONDS = 20.0
BIND_ATTEMPTS = 5


@dataclass(frozen=True)
class ValkeyServer:
    """A cache that accepts connections on 127.0.0.1."""

    running: Running
    port: int
    password: str
    version: str

    @property
    def url(self) -> str:
        """Address with its password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        self.running.stop(within_seconds=5)

    def freeze(self) -> None:
        """Stop it from answering while its connections stay open: the failure that time-outs are for."""
        self.running.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self.running.process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forget everything."""
        command(self.port, self.password, "FLUSHALL")


def start_valkey(folder: Path, guard: Guard, port: int | None = None, password: str | None = None) -> ValkeyServer:
    """Start a cache with its files in *folder*; *port* and *password* bring one back at its old address.

    Raises:
        LocalProblem: it does not start.
    """
    account = server_account()
    private_folder(folder, account)
    program = valkey_program(account, folder / "programs")
    configuration = folder / "valkey.conf"
    stop_leftover(folder / "valkey.pid", [str(configuration)], signal.SIGTERM)
    password = password or secrets.token_urlsafe(24)
    remembered = folder / "port"
    if port is None and remembered.exists():
        port = int(remembered.read_text())
    for _ in range(BIND_ATTEMPTS):
        port = port if port is not None and is_port_free(port) else free_port()
        write_private(configuration, _configuration(folder, port, password), account)
        running = Program(
            "Valkey",
            [program, configuration],
            log=folder / "valkey.log",
            pid_file=folder / "valkey.pid",
            account=account,
            environment={"LC_ALL": "C"},
            folder=folder,
        ).start(guard)
        if _is_ready(running, port, password):
            write_private(remembered, str(port), account)
            return ValkeyServer(running, port, password, _version(port, password))
        running.stop()
        words = running.last_words()
        if "Address already in use" not in words:
            raise explain_log(words, folder) or LocalProblem(f"Valkey did not start; the end of its log:\n{words}")
        port = None
    raise LocalProblem("Valkey found no free port on 127.0.0.1.")


def _configuration(folder: Path, port: int, password: str) -> str:
    """In a file, not on the command line: everybody on the machine can read that."""
    return f"""bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
save ""
appendonly no
maxmemory 64mb
# Every key may go when memory is short: nothing is in here that cannot be computed again.
maxmemory-policy allkeys-lru
# The title that `ps` shows keeps the path of this file: by it a leftover is known as ours. There is room for
# no more than the command line had.
proc-title-template "{{title}} {{config-file}}"
"""


def _is_ready(running: Running, port: int, password: str) -> bool:
    def settled() -> bool:
        return running.has_ended() or _answers(port, password)

    return wait_until(settled, START_WITHIN_SECONDS) and not running.has_ended()


def _answers(port: int, password: str) -> bool:
    try:
        return command(port, password, "PING") == "PONG"
    except OSError:
        return False


def _version(port: int, password: str) -> str:
    for line in command(port, password, "INFO", "server").splitlines():
        if line.startswith("valkey_version:"):
            return line.partition(":")[2].strip()
    return "of unknown version"


def command(port: int, password: str, *words: str) -> str:
    """Send one command over a connection of its own and return the simple or bulk reply.

    Raises:
        OSError: nothing answers there within two seconds, or the answer is an error.
    """
    with (
        socket.create_connection(("127.0.0.1", port), timeout=2) as connection,
        connection.makefile("rwb") as stream,
    ):
        reply = ""
        for parts in (("AUTH", password), words):
            encoded = [part.encode() for part in parts]
            stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in encoded))
            stream.flush()
            head = stream.readline().decode().strip()
            if head.startswith("-") or not head:
                raise ConnectionError(head or "closed")
            reply = stream.read(int(head[1:]) + 2).decode() if head.startswith("$") else head[1:]
        return reply
