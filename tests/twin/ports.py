"""Ports that stay one's own: a process that was killed must find its own free again, seconds later."""

import os
import random
import socket

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
        self._left = list(range(first + 1, first + BLOCK))

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
            # The block's first port, bound and never listened on, is its lock: it goes with the process, however that
            # ends, and holds for every account of the machine. A file would belong to whoever made it first.
            lock = socket.socket(socket.AF_INET)
            try:
                lock.bind(("127.0.0.1", first))
            except OSError:
                lock.close()
            else:
                # A bare descriptor, so that who forgets to close this keeps the block until the process ends.
                return lock.detach(), first
        raise RuntimeError(f"{len(blocks)} twins run on this machine already")
