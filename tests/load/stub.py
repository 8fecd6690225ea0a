"""A server that answers every search at once, except while it stalls: `python stub.py PORT_FILE [options]`.

With `--blind` it stalls before it reads, so that its own histogram sees nothing of the wait; with `--lie` it counts
every time as that many times as long. With `--taken` searches show a slot, another each time, and whoever asks for one
comes too late.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path

EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
BODY = b'{"items": [], "next_cursor": null}'
NAME = "telemed_http_request_duration_seconds"


class Stub:
    """The server and its histogram."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._begun = time.monotonic()
        self._counts: Counter[float] = Counter()
        self._shown = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                await self._answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        came = time.monotonic()
        path = head.split(b" ", 2)[1]
        if path == b"/metrics":
            writer.write(_reply(self._page().encode()))
            return
        left = self._stall_left()
        if left > 0 and self._options.blind:
            time.sleep(left)  # noqa: ASYNC251 - that is the point: nobody is read meanwhile
            came = time.monotonic()
        elif left > 0:
            await asyncio.sleep(left)
        writer.write(self._taken_slot(path) if self._options.taken else _reply(BODY, self._options.status))
        took = (time.monotonic() - came) * self._options.lie
        for edge in EDGES:
            self._counts[edge] += took <= edge

    def _taken_slot(self, path: bytes) -> bytes:
        """Answer a search with a slot that nobody was shown, and a booking with that it is taken."""
        if path == b"/booking/slots/book":
            return _reply(b'{"type": "slot-taken"}', 409)
        self._shown += 1
        times = {"starts_at": "2099-01-01T09:00:00Z", "ends_at": "2099-01-01T09:30:00Z"}
        items = [{"id": f"slot-{self._shown}", "doctor": {"id": "doctor-1"}, **times}]
        return _reply(json.dumps({"items": items, "next_cursor": None}).encode())

    def _stall_left(self) -> float:
        every: float = self._options.every
        stall: float = self._options.stall
        place = (time.monotonic() - self._begun) % every
        return max(0.0, place - (every - stall)) and every - place

    def _page(self) -> str:
        labels = 'method="GET",route="/booking/slots/search",service="all",status_class="2xx",traffic="user"'
        lines = [f"# TYPE {NAME} histogram"]
        lines += [f'{NAME}_bucket{{{labels},le="{_edge(edge)}"}} {self._counts[edge]}' for edge in EDGES]
        lines += [f"{NAME}_count{{{labels}}} {self._counts[EDGES[-1]]}", f"{NAME}_sum{{{labels}}} 0"]
        return "\n".join(lines) + "\n"


def _length(head: bytes) -> int:
    """Give the length of the body that follows."""
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else str(edge)


def _reply(body: bytes, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def main() -> None:
    """Serve until killed, and write the port into the file when there is one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port_file", type=Path)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--stall", type=float, default=0.0)
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("--lie", type=float, default=1.0)
    parser.add_argument("--taken", action="store_true")
    parser.add_argument("--status", type=int, default=200)
    options = parser.parse_args()
    server = await asyncio.start_server(Stub(options).serve, "127.0.0.1", 0, backlog=1024)
    draft = options.port_file.with_suffix(".draft")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.replace(options.port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
