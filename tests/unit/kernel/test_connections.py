"""What is left of a connection that has ended: nothing."""

import asyncio

import uvicorn
from uvicorn.server import ServerState

from telemed.kernel.http.protocol import BoundedHttpProtocol


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def is_closing(self) -> bool:
        """It stays open for as long as nobody asks."""
        return False


async def test_a_connection_that_is_reset_leaves_no_timer() -> None:
    """A timer would keep it, with all that it holds, for as long as a connection may be quiet."""
    protocol = BoundedHttpProtocol(uvicorn.Config(app=lambda: None), ServerState(), {})
    protocol.connection_made(Wire())
    timer = protocol.timeout_keep_alive_task
    assert timer is not None

    protocol.connection_lost(ConnectionResetError())

    assert timer.cancelled()
