"""A collector for tests: takes spans over OTLP as they come, refuses them, or never answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Manner(Enum):
    """How the collector answers."""

    TAKES = auto()
    REFUSES = auto()
    IS_SILENT = auto()


@dataclass(frozen=True)
class SeenSpan:
    """A span as a collector sees it; ids in hexadecimal, empty without a parent."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    attributes: dict[str, Any]
    is_error: bool
    starts_ns: int
    ends_ns: int


class Receiver:
    """What a collector got, as bytes and as spans."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        self.may_answer = threading.Event()
        self.url = ""

    @property
    def spans(self) -> list[SeenSpan]:
        """Decode everything that came so far."""
        return [span for body in list(self.bodies) for span in spans_in(body)]


@contextmanager
def receiving(manner: Manner = Manner.TAKES) -> Iterator[Receiver]:
    """Lend a collector on a port of its own."""
    receiver = Receiver(manner)
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    receiver: ClassVar[Receiver]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.receiver.paths.add(self.path)
        self.receiver.bodies.append(body)
        if self.receiver.manner is Manner.IS_SILENT:
            self.receiver.may_answer.wait()
            return
        self.send_response(500 if self.receiver.manner is Manner.REFUSES else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
        """Print nothing."""


def spans_in(body: bytes) -> Iterator[SeenSpan]:
    """Decode one request of an exporter."""
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        service = _values(of_resource.resource.attributes).get("service.name", "")
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield SeenSpan(
                    service=service,
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    trace_state=span.trace_state,
                    attributes=_values(span.attributes),
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                    starts_ns=span.start_time_unix_nano,
                    ends_ns=span.end_time_unix_nano,
                )


def _values(pairs: Any) -> dict[str, Any]:  # the generated classes of protobuf have no types
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
