"""Ports that stay one's own: a process that was killed must find its own free again, seconds later."""

import fcntl
import os
import random
import tempfile
from pathlib import Path

from tests.support.redis_nodes import BUS_OFFSET

from telemed.local.processes import is_port_free

# Below the ports that Linux gives to outgoing connections, and below those that tests pick at random.
RANGE = range(10_000, 12_000)
BLOCK = 100


class Ports:
    """A block of ports that nobody else on this machine has until `close`, or until this process ends."""

    def __init__(self) -> None:
        blocks = list(range(RANGE.start, RANGE.stop, BLOCK))
        random.shuffle(blocks)
        self._lock, first = self._first_free(blocks)
        self._left = list(range(first, first + BLOCK))

    def take(self, count: int) -> list[int]:
        """Give ports that nobody listens on, and never the same ones again.

        Valkey's cluster bus lies BUS_OFFSET above its port, so that one is looked at as well.
        """
        taken: list[int] = []
        while len(taken) < count:
            port = self._left.pop(0)
            if is_port_free(port) and is_port_free(port + BUS_OFFSET):
                taken.append(port)
        return taken

    def close(self) -> None:
        """Let others have them."""
        os.close(self._lock)

    def _first_free(self, blocks: list[int]) -> tuple[int, int]:
        for first in blocks:
            # The lock goes with the process, however it ends; the empty file may stay.
            path = Path(tempfile.gettempdir()) / f"telemed-twin-ports-{first}.lock"
            # A bare descriptor, so that who forgets to close this keeps the block until the process ends.
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return lock, first
        raise RuntimeError(f"{len(blocks)} twins run on this machine already")
