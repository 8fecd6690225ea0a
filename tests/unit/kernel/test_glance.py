"""Requests that are read at a glance: what is read is what the parser reads, and whatever it would mind is not read."""

import random

import httptools
import pytest

from telemed.kernel.http.glance import at_a_glance

_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_WHOLE = (
    "GET /booking/slots/search?specialization=cardiology&limit=20 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    f"User-Agent: python-requests/2.32\r\nAccept: */*\r\nConnection: keep-alive\r\nX-Request-ID: mine-1\r\n"
    f"traceparent: {_TRACEPARENT}\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
).encode()


def asked(*lines: str, first: str = "GET /search HTTP/1.1") -> bytes:
    """Write a request."""
    return "\r\n".join([first, "Host: telemed.test", *lines]).encode() + b"\r\n\r\n"


def test_a_regular_request_is_read() -> None:
    """Its path, and what it says of who asks."""
    caller = (_TRACEPARENT, "mine-1", b"python-requests/2.32")
    assert at_a_glance(_WHOLE) == ("/booking/slots/search", caller)
    assert at_a_glance(asked()) == ("/search", (None, None, None))
    assert at_a_glance(asked("x-request-id: one", "X-REQUEST-ID: two")) == ("/search", (None, "two", None))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _WHOLE[:-1],
        _WHOLE[:-2],
        _WHOLE[10:],
        _WHOLE + _WHOLE,
        _WHOLE + b"\r\n",
        b"\r\n" + _WHOLE,
        _WHOLE.replace(b"\r\n", b"\n"),
        asked(first="POST /search HTTP/1.1"),
        asked(first="HEAD /search HTTP/1.1"),
        asked(first="GET /search HTTP/1.0"),
        asked(first="GET http://telemed.test/search HTTP/1.1"),
        asked(first="GET /search#here HTTP/1.1"),
        asked(first="GET /search?q=a b HTTP/1.1"),
        asked("Content-Length: 0"),
        asked("content-length: 5"),
        asked("Transfer-Encoding: chunked"),
        asked("Connection: close"),
        asked("Connection: keep-alive, Upgrade"),
        asked("Proxy-Connection: close"),
        asked("Upgrade: h2c"),
        asked("Expect: 100-continue"),
        asked("X-Request-Deadline: 2100-01-01T00:00:00Z"),
        asked("Accept : */*"),
        asked("Accept: one,", " two"),
        asked("X-Request-ID:  two-spaces"),
        asked("X-Request-ID: behind "),
        asked("X-Request-ID:"),
        asked("Accept: \x00"),
        asked("No colon"),
        asked("Cookie: " + "c" * 8192),
    ],
)
def test_whatever_needs_thought_is_left_to_the_parser(data: bytes) -> None:
    """Parts of a request, several, bodies, ends of connections, and all that is wrong."""
    assert at_a_glance(data) is None


class Parsed:
    """What the server's parser makes of bytes."""

    def __init__(self, data: bytes) -> None:
        self.begun = self.complete = 0
        self.url = self.body = b""
        self.headers: dict[bytes, bytes] = {}
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.is_plain = (
            parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1

    def text(self, name: bytes) -> str | None:
        """Give a header as the edge reads it."""
        return self.headers[name].decode("latin-1") if name in self.headers else None


# What is put into a request, where it may change what is meant.
_PIECES = [
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"?", b"#", b"//", b"%00", b"\x00", b"\x7f", b"\xff", b"@", b"[", b"{"),
    *(b"GET ", b"HTTP/1.0", b"HTTP/1.1\r\n", b"http://a/", b"Content-Length: 3\r\n", b"content-length:0\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n"),
    *(b"x-request-id: two\r\n", b"X-Request-ID:\tthree\r\n", b"user-agent:\r\n", b"TraceParent: x \r\n", b"a_b: c\r\n"),
]


def changed(request: bytes, draw: random.Random) -> bytes:
    """Put something in, take something out, or repeat a line, a few times."""
    for _ in range(draw.randint(1, 4)):
        place, kind = draw.randrange(len(request)), draw.random()
        if kind < 0.6:
            request = request[:place] + draw.choice(_PIECES) + request[place:]
        elif kind < 0.8:
            request = request[:place] + request[place + draw.randint(1, 4) :]
        else:
            lines = request.split(b"\r\n")
            lines.insert(draw.randrange(1, len(lines)), draw.choice(lines))
            request = b"\r\n".join(lines)
    return request


def test_whatever_is_read_is_what_the_parser_reads() -> None:
    """Of many thousand broken requests: one whole message, no body, a connection that stays, and the same ids."""
    draw, read = random.Random(7), 0  # noqa: S311 - no secret
    for _ in range(30_000):
        data = changed(_WHOLE, draw)
        glance = at_a_glance(data)
        if glance is None:
            continue
        read += 1
        parsed = Parsed(data)
        assert (parsed.begun, parsed.complete, parsed.body, parsed.is_plain) == (1, 1, b"", True), data
        caller = (parsed.text(b"traceparent"), parsed.text(b"x-request-id"), parsed.headers.get(b"user-agent"))
        assert glance == (httptools.parse_url(parsed.url).path.decode(), caller), data
    assert read > 1_000
