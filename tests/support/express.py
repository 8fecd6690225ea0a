"""The short way (kernel/http/express.py) in front of an application in this process, as connections have it."""

import asyncio

from starlette.types import Receive, Scope, Send

from telemed.kernel.http.middleware import Edge


class BehindExpress:
    """Tries the short way first, for every request; counts those that it has answered and refused."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.answered = 0
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        carrier = _Carrier()
        if scope["type"] == "http" and self.edge.express is not None and self.edge.express.begin(scope, carrier):
            response = await carrier.response
            if response is not None:
                self.answered += response[0] == 200
                self.refused += response[0] == 503
                status, head, body = response
                lines = [line.split(b": ", 1) for line in head.split(b"\r\n") if line]
                headers = [(name, value) for name, value in lines]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self.edge(scope, receive, send)


class _Carrier:
    def __init__(self) -> None:
        self.response: asyncio.Future[tuple[int, bytes, bytes] | None] = asyncio.get_running_loop().create_future()

    @property
    def is_gone(self) -> bool:
        return False

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        self.response.set_result((status, head, body))

    def take_ordinary_way(self) -> None:
        self.response.set_result(None)
