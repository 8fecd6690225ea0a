"""Answers of hot routes go out in one piece where that can be: the same bytes as in two, and a connection in order."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from tests.support.clinic import Clinic
from tests.support.people import User
from tests.support.platform import Platform, TelemedProcess

_CHANGING = re.compile(rb"(date|x-request-id|connection): .*\r\n")


class Connection:
    """A connection on which answers are read byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def asks(self, what: str, *headers: str) -> tuple[bytes, bytes]:
        """Give the head, without what changes from answer to answer, and the body."""
        lines = [f"{what} HTTP/1.1", "Host: telemed.test", *headers]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        return _CHANGING.sub(b"", head), re.sub(rb'"trace_id": "[0-9a-f]+"', b"", body)

    async def is_closed(self) -> bool:
        """Wait for the end."""
        return await self._reader.read() == b""


@asynccontextmanager
async def connected(process: TelemedProcess) -> AsyncIterator[Connection]:
    """Connect to the process."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def process(platform_processes: Platform) -> TelemedProcess:
    """One process that traces nothing by itself: what is traced goes another way."""
    (made,) = await platform_processes.serve("all", TRACE_SAMPLE_RATIO="0")
    return made


@pytest.fixture
async def connection(process: TelemedProcess) -> AsyncIterator[Connection]:
    """A connection that stays open."""
    async with connected(process) as made:
        yield made


async def test_one_piece_is_what_two_would_be(
    process: TelemedProcess, connection: Connection, live_clinic: Clinic
) -> None:
    """Status, headers in their order, and body: of a search, of looks and of a problem."""
    doctor: User = await live_clinic.doctor()
    await live_clinic.slots(doctor, 3)
    for path in (
        f"/booking/slots/search?doctor_id={doctor.id}&limit=2",
        f"/booking/doctors/{doctor.id}",
        f"/booking/doctors/{uuid4()}",
    ):
        whole = await connection.asks(f"GET {path}")
        # Whose connection is to end is answered as uvicorn does.
        async with connected(process) as ending:
            assert await ending.asks(f"GET {path}", "Connection: close") == whole
            assert await ending.is_closed()


async def test_an_answer_without_a_body_leaves_the_connection_in_order(
    connection: Connection, live_clinic: Clinic
) -> None:
    """A slot is withdrawn, and the next question on the same connection is answered."""
    doctor: User = await live_clinic.doctor()
    (slot,) = await live_clinic.slots(doctor)

    head, body = await connection.asks(f"DELETE /booking/slots/{slot['id']}", f"Authorization: Bearer {doctor.token}")

    assert head.startswith(b"HTTP/1.1 204 ")
    assert (b"content-length" in head, b"transfer-encoding" in head, body) == (False, False, b"")
    head, body = await connection.asks(f"GET /booking/slots/search?doctor_id={doctor.id}")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b'{"items":[],"next_cursor":null}')
