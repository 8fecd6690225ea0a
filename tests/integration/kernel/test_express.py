"""The short way on real connections: counted, logged and traced as the ordinary way, in order, and to an end."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.clinic import Clinic
from tests.support.people import User
from tests.support.platform import Platform, TelemedProcess
from tests.support.waiting import until

_SEARCH = "/booking/slots/search"
_COUNTED = re.compile(rf'telemed_http_requests_total{{[^}}]*route="{_SEARCH}",[^}}]*status="(\d+)"[^}}]*}} (\S+)')


@pytest.fixture
async def process(platform_processes: Platform, tmp_path: Path) -> TelemedProcess:
    """One process that traces everything."""
    (made,) = await platform_processes.serve("all", TRACE_DIRECTORY=str(tmp_path / "traces"), TRACE_SAMPLE_RATIO="1")
    return made


@pytest.fixture
async def path(process: TelemedProcess, live_clinic: Clinic, platform_processes: Platform) -> str:
    """A search that the process remembers: whoever asks now is answered the short way."""
    doctor: User = await live_clinic.doctor()
    await live_clinic.slots(doctor, 3)
    found = f"{_SEARCH}?doctor_id={doctor.id}"
    for _ in range(3):
        (await platform_processes.client.get(found)).raise_for_status()
    return found


async def exchanged(process: TelemedProcess, *requests: bytes) -> list[tuple[bytes, bytes]]:
    """Send everything at once and give the replies, heads and bodies, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"".join(requests))
    replies = []
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            replies.append((head, await reader.readexactly(length)))
    except asyncio.IncompleteReadError:
        pass
    writer.close()
    return replies


def request(path: str, *headers: str, closes: bool = False) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: telemed.test", *headers, *(["Connection: close"] if closes else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def shape(event: dict[str, Any]) -> dict[str, Any]:
    """Give an event's fields in order, with what differs from request to request made alike."""
    return {
        name: re.sub(r"[0-9a-f]", "0", value) if isinstance(value, str) and name.endswith(("_id", "stamp")) else value
        for name, value in event.items()
        if name != "ms"
    } | {"ms": type(event["ms"]).__name__}


async def test_all_ways_leave_the_same(process: TelemedProcess, path: str, tmp_path: Path) -> None:
    """On the wire but for date and ids, in the log, in the counts, and in the trace."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    asked = (f"traceparent: 00-{trace}-00f067aa0ba902b7-01", "X-Request-ID: mine-1")
    # A deadline of its own is what makes the second one go straight to its endpoint, and a parameter that is there
    # twice what makes the third one go by FastAPI and its instrumentation.
    later = "X-Request-Deadline: 2100-01-01T00:00:00Z"
    replies = await exchanged(
        process,
        request(path, *asked),
        request(path, *asked, later),
        request(f"{path}&{path.partition('?')[2]}", *asked, later),
        request("/livez", closes=True),
    )
    (short_head, short_body), *others, _ = replies
    assert b"x-request-id: mine-1\r\n" in short_head
    for head, body in others:
        assert re.sub(rb"date: .*\r\n", b"", head) == re.sub(rb"date: .*\r\n", b"", short_head)
        assert body == short_body

    await until(lambda: len(process.logged("request.answered")) >= 8)
    short, *other_lines = process.logged("request.answered")[-3:]
    for line in other_lines:
        assert list(line) == list(short)
        assert shape(line) == shape(short)
    assert short["trace_id"] == trace

    spans = await _spans(tmp_path / "traces", trace)
    roots = [span for span in spans if span["parent_id"] == "0x00f067aa0ba902b7"]
    assert [span["name"] for span in roots] == [f"GET {_SEARCH}"] * 3
    assert sum("server.address" in root["attributes"] for root in roots) == 1, "what the instrumentation adds"
    told = [
        {key: root["attributes"].get(key) for key in ("http.route", "http.response.status_code", "telemed.request_id")}
        for root in roots
    ]
    assert (
        told[0]
        == told[1]
        == told[2]
        == {
            "http.route": _SEARCH,
            "http.response.status_code": 200,
            "telemed.request_id": "mine-1",
        }
    )


async def _spans(folder: Path, trace: str) -> list[dict[str, Any]]:
    """Wait for the three requests' spans and give them."""

    def read() -> list[dict[str, Any]]:
        lines = [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
        return [one for one in map(json.loads, lines) if one["context"]["trace_id"] == f"0x{trace}"]

    await until(lambda: len([one for one in read() if one["name"] == f"GET {_SEARCH}"]) == 3, within_seconds=20)
    return read()


async def test_each_is_counted_once(process: TelemedProcess, path: str, platform_processes: Platform) -> None:
    """A hundred requests, most of them the short way: a hundred more in the metrics, and as many hits and lines."""
    before = await _counted(platform_processes)
    replies = await exchanged(process, *[request(path)] * 99, request(path, closes=True))
    assert {head.split(b"\r\n")[0] for head, _ in replies} == {b"HTTP/1.1 200 OK"}
    assert len({body for _, body in replies}) == 1

    after = await _counted(platform_processes)

    assert after["200"] - before["200"] == len(replies) == 100
    assert after.get("499", 0) == before.get("499", 0)


async def _counted(platform: Platform) -> dict[str, float]:
    text = (await platform.client.get("/metrics")).text
    return {status: float(value) for status, value in _COUNTED.findall(text)}


async def test_pipelined_requests_are_answered_in_order(process: TelemedProcess, path: str) -> None:
    """Whichever way each of them takes."""
    unknown = f"{_SEARCH}?limit=0"  # refused by the ordinary way
    replies = await exchanged(
        process,
        *(request(one) for one in (path, "/auth/me", path, unknown, path)),
        request("/livez", closes=True),
    )

    statuses = [head.split(b" ")[1] for head, _ in replies]
    assert statuses == [b"200", b"401", b"200", b"422", b"200", b"200"]


async def test_a_client_that_is_gone_is_counted_as_gone(
    process: TelemedProcess, path: str, platform_processes: Platform
) -> None:
    """Its answer was on its way; nobody complains, and the place is free again."""
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(request(path))
        writer.transport.abort()

    async def is_idle() -> bool:
        text = (await platform_processes.client.get("/metrics")).text
        held = re.findall(r"^telemed_http_requests_in_flight{\S* (\S+)", text, re.MULTILINE)
        return bool(held) and set(held) == {"0.0"}

    await until(is_idle)
    assert (await _counted(platform_processes)).get("499", 0) > 0
    assert not process.complaints()


async def test_a_process_ends_while_it_answers_the_short_way(
    process: TelemedProcess, path: str, platform_processes: Platform
) -> None:
    """Requests on kept connections until the very end: each one is answered, and the last says that it is the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    heads = []
    ending = asyncio.create_task(platform_processes.stop(process))
    while True:
        writer.write(request(path))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        heads.append(head)
        if b"connection: close" in head:
            break
    writer.close()

    assert await ending == 0
    assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
