"""What stands before the pods: an HAProxy that hears of endpoints a while after they have changed, and retries nothing.

Without second tries every request that reaches a pod too late is a failed one: the rehearsal is stricter than the
gateway, which tries another pod when it cannot connect.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.pods.kubelet import Kubelet
from tests.pods.pod import Pod
from tests.support.programs import require_program
from tests.support.waiting import until

from telemed.local.processes import Guard, Program, free_port, is_answered

_PLACES = 12
_CONFIGURATION = """
global
  stats socket {socket} mode 600 level admin
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend all
  bind 127.0.0.1:{port}
  default_backend pods
backend pods
  balance roundrobin
  server-template pod 1-{places} 127.0.0.1:1 disabled
"""


class Balancer:
    """Sends to the pods that were ready *behind_seconds* ago."""

    def __init__(self, kubelet: Kubelet, socket: Path, port: int, behind_seconds: float) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._kubelet = kubelet
        self._socket = socket
        self._behind_seconds = behind_seconds
        self._places: dict[Pod, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        kubelet.changed.append(self._hear)

    async def settled(self) -> None:
        """Wait until it has heard of everything."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _hear(self) -> None:
        task = asyncio.create_task(self._follow([pod for pod in self._kubelet.pods if pod.is_ready]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, ready: list[Pod]) -> None:
        await asyncio.sleep(self._behind_seconds)
        async with self._order:
            for pod in ready:
                if pod not in self._places:
                    self._places[pod] = len(self._places) + 1
                    await self._say(pod, f"addr {pod.ip} port {pod.template.port('http')}")
            for pod in self._places:
                await self._say(pod, f"state {'ready' if pod in ready else 'maint'}")

    async def _say(self, pod: Pod, what: str) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        writer.write(f"set server pods/pod{self._places[pod]} {what}\n".encode())
        await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def balancer_before(kubelet: Kubelet, *, behind_seconds: float) -> AsyncIterator[Balancer]:
    """Lend a balancer; it knows no pod yet."""
    program = require_program("haproxy")
    with tempfile.TemporaryDirectory(prefix="telemed-lb-") as folder:
        socket, port, guard = Path(folder) / "s", free_port(), Guard()
        file = Path(folder) / "haproxy.cfg"
        file.write_text(_CONFIGURATION.format(socket=socket, port=port, places=_PLACES))
        log, pid = Path(folder) / "log", Path(folder) / "pid"
        try:
            Program("balancer", [program, "-db", "-q", "-f", file], log=log, pid_file=pid).start(guard)
            await until(lambda: asyncio.to_thread(is_answered, port), within_seconds=20)
            balancer = Balancer(kubelet, socket, port, behind_seconds)
            yield balancer
            await balancer.settled()
        finally:
            await asyncio.to_thread(guard.close)
