"""An HTTP client of the platform that stands on the standard library, as the image holds no other.

One request at a time, each on a connection of its own: a smoke test wants to know whether connections can be made, and
has no hurry. No proxy of the environment is used and no redirect followed: it is the named address that is proved.
"""

import json
import socket
import ssl
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

from telemed.kernel.settings import SettingsProblem
from telemed.smoke.failure import Failure
from telemed.smoke.run import Run

_CONSISTENCY = "X-Consistency-Token"  # what a client has written, so that it reads its own writes everywhere
_MAX_ANSWER_BYTES = 4 * 1024 * 1024  # a page of a hundred slots has 50 KB


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service answers. *service* is auth, booking or consultation."""

    service: str
    url: SplitResult

    @classmethod
    def of(cls, service: str, text: str) -> "Address":
        """Read an address as given by the operator.

        Raises:
            SettingsProblem: it is none.
        """
        try:
            url = urlsplit(text.rstrip("/"))
            fits = url.scheme in {"http", "https"} and url.hostname and url.port != 0
        except ValueError:
            fits = False
        if not fits or url.query or url.fragment or url.username is not None:
            raise SettingsProblem(f"--{service}: give an address like http://{service}:3000, not {text!r}.")
        return cls(service, url)

    @classmethod
    def of_all(cls, **given: str) -> "dict[str, Address]":
        """Read the addresses of all services, by their names.

        Raises:
            SettingsProblem: one of them is none.
        """
        return {name: cls.of(name, text) for name, text in given.items()}

    def __str__(self) -> str:
        """Name the service and where it is."""
        return f"{self.service} at {self.url.geturl()}"

    def connection(self, timeout: float) -> HTTPConnection:
        """Prepare a connection; nothing is sent yet."""
        host = self.url.hostname or ""
        if self.url.scheme == "https":
            return HTTPSConnection(host, self.url.port, timeout=timeout, context=ssl.create_default_context())
        return HTTPConnection(host, self.url.port, timeout=timeout)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. *body* is the JSON, None if it was none."""

    status: int
    body: Any  # JSON
    content_type: str

    @property
    def problem(self) -> str | None:
        """Give the slug of the problem, if it is one."""
        if self.content_type != "application/problem+json" or not isinstance(self.body, dict):
            return None
        return str(self.body.get("type"))


@dataclass
class Caller:
    """Somebody who calls the platform: with a token once they are logged in, and with what they have written."""

    name: str
    addresses: dict[str, Address]
    run: Run
    token: str | None = None
    _written: str | None = field(default=None, repr=False)

    def expect(self, wanted: int, method: str, path: str, body: Any = None) -> Any:
        """Send the request and give the JSON of the answer.

        Raises:
            Failure: the answer has another status, or there is none.
        """
        answer = self.send(method, path, body)
        self.require(answer, wanted, f"{method} {path}")
        return answer.body

    def require(self, answer: Answer, wanted: int, request: str) -> None:
        """Refuse an answer to *request* that has another status, or no JSON where there must be some.

        Raises:
            Failure: it does.
        """
        if answer.status != wanted or (wanted in {200, 201} and not isinstance(answer.body, dict)):
            raise Failure(self.complaint(answer, request, str(wanted)))

    def send(self, method: str, path: str, body: Any = None) -> Answer:
        """Send the request and give the answer, whatever it is.

        Raises:
            Failure: there is none.
        """
        address = self._address_of(path)
        try:
            answer, headers = self._exchange(address.connection(self.run.patience()), address, method, path, body)
        except (OSError, HTTPException) as error:
            raise Failure(f"{address} {_why(error)}.") from error
        self._written = headers.get(_CONSISTENCY, self._written)
        return answer

    def complaint(self, answer: Answer, request: str, wanted: str) -> str:
        """Say in one sentence what is wrong with an answer to *request*, for which *wanted* was expected."""
        address = self._address_of(request.partition(" ")[2])
        said = f"{address} answered {request.partition('?')[0]} with {answer.status}"
        if not isinstance(answer.body, dict) or (answer.status >= 400 and answer.problem is None):
            return f"{said} {answer.content_type}, as telemed never does; is this the address of {address.service}?"
        if answer.status == 401 and self.token is not None:
            return (
                f"{address} refuses the token that auth has issued: have both the same keys, issuer and audience "
                "(JWT_*), and the same database?"
            )
        if answer.problem == "not-found" and self.run.is_arriving:
            return f"{said} {answer.problem}; is this the address of {address.service}?"
        trace = f" (trace {answer.body['trace_id']})" if answer.problem and "trace_id" in answer.body else ""
        return f"{said} {answer.problem or ''}{trace} instead of {wanted}".replace("  ", " ") + "."

    def _address_of(self, path: str) -> Address:
        return self.addresses[path.partition("?")[0].split("/")[1]]

    def _exchange(
        self, connection: HTTPConnection, address: Address, method: str, path: str, body: Any
    ) -> tuple[Answer, HTTPMessage]:
        headers = self.run.headers() | {"Accept": "application/json", "Connection": "close"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if self._written is not None:
            headers[_CONSISTENCY] = self._written
        if method != "GET":
            headers |= {"Content-Type": "application/json", "Idempotency-Key": headers["X-Request-ID"]}
        content = json.dumps(body).encode() if body is not None else b""
        try:
            connection.request(method, address.url.path + path, content if method != "GET" else None, headers)
            response = connection.getresponse()
            text = response.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()
        kind = response.headers.get_content_type()
        return Answer(response.status, _parsed(text, kind), kind), response.headers


def _parsed(text: bytes, kind: str) -> Any:
    if not kind.endswith("json"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


# The first that fits; what is derived from another stands before it.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "cannot be found: its name is unknown"),
    (ConnectionRefusedError, "is not there: the connection was refused"),
    (TimeoutError, "did not answer in time"),
    (ssl.SSLError, "cannot be trusted, or does not speak TLS: {error}"),
    (ConnectionResetError, "closed the connection without an answer"),
    (HTTPException, "does not speak HTTP: {error!r}"),
    (OSError, "cannot be reached: {error}"),
)


def _why(error: Exception) -> str:
    return next(reason for kind, reason in _REASONS if isinstance(error, kind)).format(error=error)
