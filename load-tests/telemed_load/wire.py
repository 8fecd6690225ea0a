"""Sends one request over a connection of its own, with gevent, and times it. Runs in Locust's process only."""

import json
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import gevent
from gevent import socket
from geventhttpclient import HTTPClient

from telemed_load.journeys import Answer, Ask

USER_AGENT = "telemed-load/1"
IDLE_SECONDS = 50.0  # below the server's 75, so that it never closes what is about to be used
EVERY = "dns+http://"
CONSISTENCY = "x-consistency-token"


class Wire:
    """A person's connection. *began* is the instant of the clock at which the window begins."""

    def __init__(self, url: str, timeout_seconds: float, began: float) -> None:
        self._url, self._timeout, self._began = url, timeout_seconds, began
        self._client = self._connected()
        self._used_at = 0.0

    def send(self, ask: Ask, method: str) -> Answer:
        """Send it, read all of the answer, and say how long it took; a failure is an answer, too."""
        if time.perf_counter() - self._used_at > IDLE_SECONDS:
            self._client.close()
            self._client = self._connected()
        body = b"" if ask.body is None else json.dumps(ask.body).encode()
        headers = self._headers(ask)
        sent_at = time.perf_counter() - self._began
        try:
            with gevent.Timeout(self._timeout):
                reply = self._client.request(method, ask.path, body=body, headers=headers)
                content = bytes(reply.read())
                reply.release()
        except gevent.Timeout:
            return self._failed(sent_at, "timed out")
        except Exception as error:  # noqa: BLE001 - whatever the client's own errors are, no answer came
            return self._failed(sent_at, type(error).__name__)
        self._used_at = time.perf_counter()
        seen = {name.lower(): value for name, value in reply.headers}
        if ask.account is not None and CONSISTENCY in seen:
            ask.account.consistency = seen[CONSISTENCY]
        return Answer(reply.status_code, content, seen, sent_at, self._used_at - self._began)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _headers(self, ask: Ask) -> Mapping[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if ask.body is not None:
            headers["Content-Type"] = "application/json"
        if ask.key is not None:
            headers["Idempotency-Key"] = ask.key
        if ask.account is not None:
            headers["Authorization"] = f"Bearer {ask.account.token}"
            if ask.account.consistency is not None:
                headers["X-Consistency-Token"] = ask.account.consistency
        return headers

    def _failed(self, sent_at: float, why: str) -> Answer:
        # The connection may still get the late answer: nobody must take that for the next one's.
        self._client.close()
        self._client = self._connected()
        return Answer(None, b"", {}, sent_at, time.perf_counter() - self._began, why)

    def _connected(self) -> HTTPClient:
        return HTTPClient.from_url(
            self._url, concurrency=1, connection_timeout=3.0, network_timeout=self._timeout, insecure=False
        )


def each_address(url: str) -> list[str]:
    """Give the address of every process behind the name of a `dns+http://` address; any other as it is.

    A headless Service has an address for each pod: what one of them saw is not what all of them did.
    """
    if not url.startswith(EVERY):
        return [url]
    parts = urlsplit(url.removeprefix("dns+"))
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return [url.removeprefix("dns+")]  # which will say so when it is asked
    hosts = sorted({str(address[0]) for *_, address in found})
    return [f"http://{host}:{parts.port or 80}{parts.path}" for host in hosts]


def fetch(url: str, timeout_seconds: float = 5.0) -> str:
    """Read a page of text, such as a server's metrics.

    Raises:
        OSError: it cannot be read.
    """
    parts = urlsplit(url)
    client = HTTPClient.from_url(url, connection_timeout=timeout_seconds, network_timeout=timeout_seconds)
    try:
        reply = client.get(parts.path or "/", headers={"User-Agent": USER_AGENT})
        content = bytes(reply.read())
    except Exception as error:
        raise OSError(f"{url} cannot be read: {type(error).__name__}") from error
    finally:
        client.close()
    if reply.status_code != 200:
        raise OSError(f"{url} answers {reply.status_code}")
    return content.decode()
