"""How a server ends without anybody noticing: it stops accepting, lets requests finish and quiet connections go."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn

from telemed.kernel.http.protocol import Because, BoundedHttpProtocol
from telemed.kernel.telemetry.logs import get_logger

log = get_logger("server")

# Two passes of the event loop under load: what the kernel has accepted by then is ours to answer.
LAST_ACCEPTED_WITHIN_SECONDS = 0.05
LOOKS_EVERY_SECONDS = 0.05
# For what is cut short at the end of the grace: rolled back within milliseconds; a COMMIT that waits for its replicas
# may take longer, and is not waited for: its outcome is unknown to the client in either case.
CUT_SHORT_WITHIN_SECONDS = 2.0


class DrainingServer(uvicorn.Server):
    """A uvicorn server that leaves signals to us (two of them may share the process) and ends in its own way.

    A connection is only ever closed after a response that said `Connection: close`, or when it has been quiet for
    *lingers_seconds*: as long as the drain took, in which whoever looks at readiness has stopped sending. uvicorn would
    close quiet connections at once, and a proxy that has just sent a request on one would see a reset.
    """

    lingers_seconds = 0.0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting; end when all connections are gone, or at the end of the grace."""
        loop = asyncio.get_running_loop()
        grace_ends_at = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        await self._stop_accepting(sockets or [])
        while self._has_connections() and loop.time() < grace_ends_at:
            for connection in self._connections():
                connection.close_if_quiet(self.lingers_seconds)
            await asyncio.sleep(LOOKS_EVERY_SECONDS)
        await self._cut_short()

    async def _stop_accepting(self, listeners: list[socket.socket]) -> None:
        # Closing a listener resets those who are connected but not accepted yet. With no room for new ones, who comes
        # now is not answered at all, tries again after a second, and is then refused: a definite and harmless no.
        for listener in listeners:
            listener.listen(0)
        await asyncio.sleep(LAST_ACCEPTED_WITHIN_SECONDS)
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()

    async def _cut_short(self) -> None:
        late = set(self.server_state.tasks)
        if late:
            log.warning("requests.cut_short", requests=len(late))
        for connection in self._connections():
            connection.cut_short(Because.SERVER_ENDS)
        if late:
            await asyncio.wait(late, timeout=CUT_SHORT_WITHIN_SECONDS)
        for connection in self._connections():
            connection.transport.close()

    def _has_connections(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks)

    def _connections(self) -> list[BoundedHttpProtocol]:
        # Every server of ours is configured with this protocol; there are no others (`_server`).
        return cast("list[BoundedHttpProtocol]", list(self.server_state.connections))
