"""Whoever is called: takes what Alertmanager sends, and remembers when it came."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Call:
    """One alert as it was told: to whom (`page`, `ticket`, `watchdog`), and whether it fires or is over."""

    at: float  # monotonic, seconds
    receiver: str
    alert: str
    of: str  # its fingerprint: the same alert of another pod has another
    is_firing: bool
    summary: str


@dataclass
class Calls:
    """What has come so far."""

    all: list[Call] = field(default_factory=list)
    port: int = 0
    on_call: Callable[[Call], None] = lambda _: None  # told of each as it comes, on the server's thread

    def take(self, call: Call) -> None:
        """Remember one, and tell of it."""
        self.all.append(call)
        self.on_call(call)

    def since(self, at: float, receiver: str, *, is_firing: bool = True) -> list[Call]:
        """Give what this receiver was told after an instant."""
        return [c for c in self.all if c.at >= at and c.receiver == receiver and c.is_firing is is_firing]


@contextmanager
def receiving() -> Iterator[Calls]:
    """Listen on a free port of this machine for as long as the context lasts."""
    calls = Calls()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in body["alerts"]:
                calls.take(
                    Call(
                        time.monotonic(),
                        self.path.strip("/"),
                        alert["labels"]["alertname"],
                        alert["fingerprint"],
                        alert["status"] == "firing",
                        alert["annotations"].get("summary", ""),
                    )
                )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: what came is printed by who watches."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    calls.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield calls
    finally:
        server.shutdown()
        server.server_close()
