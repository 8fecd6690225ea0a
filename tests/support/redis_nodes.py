"""Single Valkey processes of which clusters and sentinel sets are made: they can be killed, frozen and moved."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from telemed.local.account import Account, private_folder, write_private
from telemed.local.processes import Guard, Program, Running, is_port_free, wait_until
from telemed.local.valkey import command

# Below the ports that Linux gives to outgoing connections, so that a node that was stopped finds its own free again;
# the nodes of a cluster talk to each other on the port that lies BUS_OFFSET higher.
PORTS = range(12_000, 22_000)
BUS_OFFSET = 10_000
START_WITHIN_SECONDS = 20.0
BIND_ATTEMPTS = 5


def free_ports(count: int) -> list[int]:
    """Pick ports of 127.0.0.1 that nobody uses at this moment."""
    picked: list[int] = []
    while len(picked) < count:
        port = random.choice(PORTS)  # noqa: S311 - not a secret
        if port not in picked and is_port_free(port) and is_port_free(port + BUS_OFFSET):
            picked.append(port)
    return picked


@dataclass(eq=False)
class RedisNode:
    """One server on 127.0.0.1 with its password and folder; *options* are lines of its configuration."""

    name: str
    folder: Path
    port: int
    password: str
    guard: Guard
    program: Path
    account: Account | None
    options: Sequence[str] = ()
    # A sentinel writes into its configuration file what it has learnt: it is made once, not at each start.
    is_sentinel: bool = False
    running: Running | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Tell whether its process is there, frozen or not."""
        return self.running is not None and not self.running.has_ended()

    def command(self, *words: str | int) -> str:
        """Send one command whose reply is a line, a number or a text.

        Raises:
            OSError: it does not answer within two seconds, or answers with an error.
        """
        return command(self.port, self.password, *(str(word) for word in words))

    def start(self) -> None:
        """Start it and wait until it answers; what it held before is gone."""
        private_folder(self.folder, self.account)
        for copy in self.folder.glob("*.rdb"):
            copy.unlink()  # what it once got from its primary; it would be loaded, persistence or not
        configuration = self.folder / "valkey.conf"
        if not (self.is_sentinel and configuration.exists()):
            write_private(configuration, self._configuration(), self.account)
        words = ""
        for _ in range(BIND_ATTEMPTS):
            running = self._launch(configuration)
            if self._comes_up(running):
                self.running = running
                return
            words = running.last_words()
            running.stop()
            if "Address already in use" not in words:
                break
        raise RuntimeError(f"{self.name} did not start:\n{words}")

    def _comes_up(self, running: Running) -> bool:
        settled = wait_until(lambda: running.has_ended() or self.answers(), START_WITHIN_SECONDS)
        return settled and not running.has_ended()

    def _launch(self, configuration: Path) -> Running:
        return Program(
            self.name,
            [self.program, configuration, *(["--sentinel"] if self.is_sentinel else [])],
            log=self.folder / "valkey.log",
            pid_file=self.folder / "valkey.pid",
            account=self.account,
            environment={"LC_ALL": "C"},
            folder=self.folder,
        ).start(self.guard)

    def answers(self) -> bool:
        """Tell whether it answers at all."""
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a lost machine ends: at once, without a word."""
        if self.running is not None:
            self.running.process.kill()
            self.running.process.wait()
            self.running.stop()

    def stop(self) -> None:
        """End it, frozen or not; safe to call twice."""
        if self.running is not None:
            self.running.stop(within_seconds=5)

    def freeze(self) -> None:
        """Stop it from answering while its connections stay open."""
        assert self.running is not None
        self.running.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.running is not None
        self.running.process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Delete what it knows of its cluster; call it while it is stopped."""
        for path in self.folder.glob("nodes.conf*"):
            path.unlink()

    def _configuration(self) -> str:
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self.password}",
                f'dir "{self.folder}"',
                # The title that `ps` shows keeps the path of this file: by it a leftover is known as ours.
                'proc-title-template "{title} {config-file}"',
                *self.options,
                "",
            ]
        )
