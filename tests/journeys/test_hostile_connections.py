"""Connections that do not keep to HTTP, against a real process: refused or ended, and nobody else notices."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime

import asyncpg
import pytest
from tests.support.people import People
from tests.support.platform import Platform

from telemed.kernel.http.protocol import HEADERS_WITHIN_SECONDS, MAX_HEADER_BYTES

ENDS_WITHIN_SECONDS = 10.0
HEAD = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"email": "asha.rao@example.com", "password": "nobody knows this password"}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
TRAILERS = (b"X-Large: " + b"a" * 1_000 + b"\r\n") * 8_000
REFUSED = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "another protocol": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a method beyond words": b"A" * 100_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
    "no number as length": HEAD + b"Content-Length: ten\r\n\r\n" + BODY,
    "a length beyond numbers": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + BODY,
    "two lengths": HEAD + b"Content-Length: 5\r\n" + LENGTH + BODY,
    "length and chunks": HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + BODY,
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an announced 10 GB": HEAD + b"Content-Length: 10000000000\r\n\r\n" + BODY,
    "1 MB in chunks": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 64
    + b"0\r\n\r\n",
    "a header without a name": b"GET /auth/me HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    "a NUL in a header": b"GET /auth/me HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\x00b\r\n\r\n",
    "a path of bytes": b"GET /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "thirty headers of a megabyte": HEAD + (b"X-Large: " + b"a" * 1_000_000 + b"\r\n") * 30 + LENGTH + BODY,
    "headers a little too large": HEAD + b"X-Large: " + b"a" * MAX_HEADER_BYTES + b"\r\n" + LENGTH + BODY,
    "half a body": HEAD + LENGTH + BODY[:20],
    "trailers without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + TRAILERS,
    "one trailer without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Large: " + b"a" * 8_000_000,
    "a chunk's extension without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x=" + b"a" * 8_000_000,
}


@pytest.fixture
async def served(platform_processes: Platform) -> Platform:
    """The combined application in a process of its own."""
    await platform_processes.serve("all")
    return platform_processes


async def exchange(port: int, sent: bytes, *, stays: bool = False) -> bytes:
    """Send the bytes, say that there are no more, unless the client *stays* for its answer, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        # A server that has seen enough hangs up while we still talk; what counts is what it said.
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            if not stays:
                writer.write_eof()
        received = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(ENDS_WITHIN_SECONDS):
                while chunk := await reader.read(65_536):
                    received += chunk
        return received
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_what_is_no_request_is_refused_at_once(served: Platform, live_people: People) -> None:
    """4xx or a closed connection, never 5xx, never a wait; others are served as if nothing were."""
    (process,) = served.processes
    assert process.port is not None
    patient = await live_people.patient()
    for label, sent in REFUSED.items():
        started = datetime.now(UTC)
        received = await exchange(process.port, sent)
        assert received == b"" or received.startswith(b"HTTP/1.1 4"), (label, received[:300])
        assert received.count(b"HTTP/1.1 ") <= 1, (label, received)  # nothing smuggled behind the first
        assert (datetime.now(UTC) - started).total_seconds() < ENDS_WITHIN_SECONDS, label
        assert (await patient.get("/auth/me")).status_code == 200, label


@pytest.mark.parametrize(
    ("label", "status"), [("no HTTP", 400), ("two lengths", 400), ("headers a little too large", 431)]
)
async def test_what_cannot_be_parsed_is_answered_with_a_problem(served: Platform, label: str, status: int) -> None:
    """Also below the application: the same document as everywhere, under an id that can be quoted."""
    (process,) = served.processes
    assert process.port is not None

    head, _, body = (await exchange(process.port, REFUSED[label])).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    assert b"x-request-id: " in head
    assert json.loads(body)["status"] == status


async def test_trailers_behind_an_answer_are_not_kept(served: Platform) -> None:
    """Who was answered without their body being read has no way to fill the memory."""
    (process,) = served.processes
    assert process.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 404")
    with pytest.raises(ConnectionError):
        await talk_on(writer)
    writer.close()


async def talk_on(writer: asyncio.StreamWriter) -> None:
    """Send trailers for as long as they are taken."""
    async with asyncio.timeout(ENDS_WITHIN_SECONDS):
        while True:
            writer.write(TRAILERS)
            await writer.drain()


async def test_no_request_becomes_a_websocket(served: Platform) -> None:
    """Also where the library is installed: it is a request like any other, on a connection like any other."""
    (process,) = served.processes
    assert process.port is not None
    handshake = (
        b"GET /auth/me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    try:
        async with asyncio.timeout(ENDS_WITHIN_SECONDS):
            for request in (handshake, b"GET /auth/me HTTP/1.1\r\nHost: x\r\n\r\n"):
                writer.write(request)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
                await reader.readuntil(b"}")
    finally:
        writer.close()


async def test_a_trailer_is_no_header(
    platform_processes: Platform, live_people: People, owner: asyncpg.Connection
) -> None:
    """What a proxy has not seen among the headers says neither who calls nor from where."""
    (process,) = await platform_processes.serve("all", TRUSTED_PROXIES="127.0.0.1")
    assert process.port is not None
    patient = await live_people.patient()
    chunked = b"Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 203.0.113.7\r\n"
    trailers = b"Authorization: Bearer %s\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n" % str(patient.token).encode()

    logout = b"POST /auth/logout HTTP/1.1\r\n" + chunked + b"\r\n0\r\n" + trailers
    login = HEAD + chunked + b"\r\n%x\r\n%s\r\n0\r\n" % (len(BODY), BODY) + trailers

    assert (await exchange(process.port, logout, stays=True)).startswith(b"HTTP/1.1 401 ")
    assert (await patient.get("/auth/me")).status_code == 200
    assert (await exchange(process.port, login, stays=True)).startswith(b"HTTP/1.1 401 ")
    noted = await owner.fetch(
        "SELECT client_address FROM audit.records WHERE action = 'session.login' AND client_address = ANY ($1)",
        ["203.0.113.7", "198.51.100.1"],  # other tests leave records beside
    )
    assert [row["client_address"] for row in noted] == ["203.0.113.7"]


async def test_headers_that_never_end_are_given_up(served: Platform) -> None:
    """The clock runs from the first byte of a request to the end of its headers."""
    (process,) = served.processes
    assert process.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET /auth/me HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    async with asyncio.timeout(HEADERS_WITHIN_SECONDS + ENDS_WITHIN_SECONDS):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "a blank line"])
async def test_a_connection_without_a_request_is_given_up(platform_processes: Platform, sent: bytes) -> None:
    """As one that is quiet between two requests: files and memory of a process are not for those who send nothing."""
    (process,) = await platform_processes.serve("all", KEEP_ALIVE_SECONDS="1")
    assert process.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(sent)
    async with asyncio.timeout(ENDS_WITHIN_SECONDS):
        assert await reader.read() == b""
    writer.close()


async def test_silent_connections_do_not_keep_others_out(served: Platform, live_people: People) -> None:
    """Two hundred that send half a request and then nothing: the next caller is served."""
    (process,) = served.processes
    patient = await live_people.patient()
    async with contextlib.AsyncExitStack() as stack:
        for place in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            stack.callback(writer.close)
            writer.write((HEAD + LENGTH + BODY[:10]) if place % 2 else b"GET /auth/me HT")
        assert (await patient.get("/auth/me")).status_code == 200
