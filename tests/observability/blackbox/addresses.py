"""Addresses to try: a small server, with TLS and without, whose certificates may be right or wrong."""

import contextlib
import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STATUSES = {"/well": 200, "/empty": 204, "/moved": 301, "/missing": 404, "/down": 503}


@dataclass
class Asked:
    """What was asked of a server."""

    user_agents: set[str] = field(default_factory=set)


class Authority:
    """Signs certificates for the tests; *ca* is what clients need to trust them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        now = dt.datetime.now(dt.UTC)
        made = self._draft(self._name, self._key, now + dt.timedelta(days=365)).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certificate(self, ends_at: dt.datetime, name: str = "localhost") -> Path:
        """Make a certificate for this name, with its key in the same file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        made = self._draft(subject, key, ends_at).add_extension(alternative, critical=False)
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = self._folder / f"{x509.random_serial_number()}.pem"
        file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(pem) + private)
        return file

    def _draft(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, ends_at: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.now(dt.UTC) - dt.timedelta(days=30))
            .not_valid_after(ends_at)
        )


@contextlib.contextmanager
def answering(certificate: Path | None) -> Iterator[tuple[str, Asked]]:
    """Answer each path of STATUSES with its status, over TLS if there is a certificate; give the address."""
    asked = Asked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"asked": asked}))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # Where a client is refused belongs to its thread, not to the one that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://localhost:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    asked: ClassVar[Asked]

    def handle(self) -> None:
        # A client that does not trust us goes away in the middle of the handshake.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self.asked.user_agents.add(self.headers.get("User-Agent", ""))
        self.send_response(STATUSES[self.path])
        if self.path == "/moved":
            self.send_header("Location", "/well")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
        """Print nothing."""
