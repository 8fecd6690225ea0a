"""The management port of a process that serves nobody: /livez, /readyz and /metrics, from a thread of its own."""

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from telemed.kernel.settings import SettingsProblem

_PATIENCE_SECONDS = 5.0  # with a client that connects and says nothing


@contextlib.contextmanager
def answering(host: str, port: int | None, registry: CollectorRegistry) -> Iterator[None]:
    """Answer for as long as the context lasts; without a port, nobody.

    Raises:
        SettingsProblem: the port is in use.
    """
    if port is None:
        yield
        return

    class Handler(_Handler):
        metrics = registry

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise SettingsProblem(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="management", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    timeout = _PATIENCE_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, media_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(self.metrics), media_type)
        elif path in {"/livez", "/readyz"}:
            self._answer(200, b'{"status": "alive"}', "application/json")
        else:
            self._answer(404, b"", "text/plain")

    def log_message(self, *_: object) -> None:
        """Say nothing of who looks."""

    def _answer(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
