"""What is refused before it is parsed: the same answer, the same counts, and a connection left in order."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from prometheus_client import generate_latest
from tests.support.waiting import until
from uvicorn.server import ServerState

from telemed.kernel.http import express as express_module
from telemed.kernel.http.admission import Admission
from telemed.kernel.http.express import Express
from telemed.kernel.http.protocol import BoundedHttpProtocol
from telemed.kernel.http.request_metrics import RequestMetrics
from telemed.kernel.http.route_table import KnownRoute, RouteTable
from telemed.kernel.priority import Priority
from telemed.kernel.problems import Overloaded
from telemed.kernel.telemetry.metrics import Metrics

PATH = "/search"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
KEEP_ALIVE = 60


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """A server does so while requests wait for one another."""

    def resume_reading(self) -> None:
        """And this is the end of it."""


class Full:
    """A memory that knows nothing, and says how much room there is."""

    def __init__(self) -> None:
        self.left: int | None = 0

    def known(self, _asked: bytes) -> None:
        return None

    def room(self) -> int | None:
        return self.left


class Server:
    """One connection to a process that has no room for searches; what is let in is served when the test says so."""

    def __init__(self) -> None:
        self.metrics, self.memory, self.health = Metrics(), Full(), SimpleNamespace(is_draining=False)
        self.express = Express(
            {PATH: self.memory},
            routes=RouteTable({("GET", PATH): KnownRoute(PATH, Priority.BROWSING)}),
            admission=Admission(100, lateness_seconds=lambda: 0.0, metrics=self.metrics),
            requests=RequestMetrics("all", self.metrics, ()),
            tracing=SimpleNamespace(decide=bool),  # type: ignore[arg-type]  # all that is asked of it
            health=self.health,  # type: ignore[arg-type]  # as above
            count_overloaded=self.metrics.problems.labels("all", Overloaded.slug()).inc,
        )
        self.state, self.wire, self.may_answer, self.served = ServerState(), Wire(), asyncio.Event(), list[str]()
        self.state.default_headers = [(b"date", b"Sun, 29 Nov 2026 12:00:00 GMT")]
        config = uvicorn.Config(
            self.answer, interface="asgi3", lifespan="off", log_config=None, timeout_keep_alive=KEEP_ALIVE
        )
        self.protocol = BoundedHttpProtocol(config, self.state, {}, express=self.express)
        self.protocol.connection_made(self.wire)

    async def answer(self, scope: Any, _receive: Any, send: Any) -> None:
        """Be the application: answer with 204."""
        self.served.append(scope["path"])
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def refuse_once(self) -> None:
        """Refuse one, by the parser's way: from now on what comes is looked at."""
        self.protocol.data_received(request())
        assert [reply[:13] for reply in self.replies] == [b"HTTP/1.1 503 "]

    @property
    def replies(self) -> list[bytes]:
        """Give what was answered, one after the other."""
        return [b"HTTP/1.1 " + reply for reply in b"".join(self.wire.written).split(b"HTTP/1.1 ")[1:]]

    async def end(self) -> None:
        """Lose the connection, and wait for who was served."""
        self.protocol.resume_writing()
        self.protocol.connection_lost(None)
        await asyncio.gather(*self.state.tasks, return_exceptions=True)

    def counts(self) -> dict[str, float]:
        """Give every counter that is not zero."""
        text = generate_latest(self.metrics.registry).decode()
        return {
            name: float(value)
            for name, value in re.findall(r"^(telemed\w+_total\S*) (\S+)$", text, re.M)
            if value != "0.0"
        }


def request(*headers: str, first: str = f"GET {PATH}?q=1 HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: telemed.test", *headers]).encode() + b"\r\n\r\n"


IDS = ("X-Request-ID: mine-1", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01", "User-Agent: telemed-smoke/1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One connection, and all that is done for it ends with the test."""
    made = Server()
    yield made
    await made.end()


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What `refuse_unparsed` was asked, and whether it refused."""
    asked: list[bool] = []
    original = Express.refuse_unparsed

    def spy(express: Express, data: bytes) -> Any:
        refusal = original(express, data)
        asked.append(refusal is not None)
        return refusal

    monkeypatch.setattr(Express, "refuse_unparsed", spy)
    return asked


async def test_both_refusals_are_one(server: Server, unparsed: list[bool]) -> None:
    """The first is parsed, the second is not: the same bytes but for the spread pause, and counted alike."""
    counts, told = [dict[str, float]()], []
    for _ in range(2):
        server.protocol.data_received(request(*IDS))
        counts.append(server.counts())
        head, _, body = server.replies[-1].partition(b"\r\n\r\n")
        told.append((re.sub(rb"retry-after: [2-5]\r\n", b"", head), json.loads(body)))

    assert unparsed == [True]
    assert told[0] == told[1]
    assert b"\r\nx-request-id: mine-1\r\n" in told[0][0]
    assert (told[0][1]["instance"], told[0][1]["trace_id"]) == (PATH, TRACE)
    assert len(counts[1]) == 3
    assert counts[2] == {name: 2 * value for name, value in counts[1].items()}
    assert all("synthetic" in name for name in counts[2] if "requests_total" in name)
    assert server.state.total_requests == 2


async def test_ids_of_a_wrong_form_are_replaced(server: Server) -> None:
    """They are not repeated, whichever way the request is refused."""
    server.refuse_once()
    for wrong in ("X-Request-ID: <script>", "traceparent: 00-none-none-01"):
        server.protocol.data_received(request(wrong))
        assert b"script" not in server.replies[-1]
        assert re.search(rb"x-request-id: [0-9a-f]{24}\r\n", server.replies[-1])
        assert re.search(rb'"trace_id": "[0-9a-f]{32}"', server.replies[-1])


async def test_each_is_told_ids_of_its_own(server: Server) -> None:
    """The answer was written before; its ids were not."""
    server.refuse_once()
    for _ in range(50):
        server.protocol.data_received(request())
    assert len({re.search(rb"x-request-id: (\w+)", reply)[1] for reply in server.replies}) == 51  # type: ignore[index]
    assert len({re.search(rb'"trace_id": "(\w+)"', reply)[1] for reply in server.replies}) == 51  # type: ignore[index]


async def test_who_finds_room_is_let_in(server: Server, unparsed: list[bool]) -> None:
    """Room is asked for each time, and what is let in is served as ever."""
    server.refuse_once()
    server.memory.left = None
    server.may_answer.set()

    server.protocol.data_received(request())
    await until(lambda: len(server.replies) == 2)

    assert unparsed == [False]
    assert server.served == [PATH]
    assert server.replies[1].startswith(b"HTTP/1.1 204 ")


async def test_without_an_overload_nothing_is_looked_at(
    server: Server, unparsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second after the last refusal what comes is parsed at once, as before the first."""
    now = 1000.0
    monkeypatch.setattr(express_module, "time", SimpleNamespace(monotonic=lambda: now, perf_counter=lambda: now))
    server.refuse_once()
    now += 0.9
    server.protocol.data_received(request())
    assert unparsed == [True]
    now += 1.0
    server.protocol.data_received(request())
    assert unparsed == [True]
    assert len(server.replies) == 3


def draining(server: Server) -> None:
    server.health.is_draining = True


def not_reading(server: Server) -> None:
    server.protocol.pause_writing()


def closing(server: Server) -> None:
    server.wire.close()


@pytest.mark.parametrize("state", [draining, not_reading, closing])
async def test_a_connection_that_is_to_end_or_is_not_read_is_left_to_the_server(
    server: Server, unparsed: list[bool], state: Callable[[Server], None]
) -> None:
    """What is right to do then, the ordinary way knows."""
    server.refuse_once()
    state(server)
    server.protocol.data_received(request())
    assert not any(unparsed)


async def test_pieces_of_a_request_are_put_together(server: Server, unparsed: list[bool]) -> None:
    """Whatever they look like by themselves."""
    server.refuse_once()
    server.protocol.data_received(b"GET /search?a=")
    server.protocol.data_received(request())  # goes on with the line, and is no request
    assert unparsed == [False]
    assert server.replies[1].startswith(b"HTTP/1.1 400 ")


async def test_what_a_body_holds_is_no_request(server: Server, unparsed: list[bool]) -> None:
    """A request was answered before its body came; what the body says would be answered as somebody's request."""
    server.refuse_once()
    server.may_answer.set()
    body = request("X-Request-ID: smuggled")
    server.protocol.data_received(request(f"Content-Length: {len(body)}", first="POST /other HTTP/1.1"))
    await until(lambda: len(server.replies) == 2)

    server.protocol.data_received(body)

    assert not any(unparsed)
    assert len(server.replies) == 2
    server.protocol.data_received(request())  # and this is one
    assert unparsed[-1]
    assert b"overloaded" in server.replies[2]


async def test_who_waits_for_an_answer_is_answered_first(server: Server, unparsed: list[bool]) -> None:
    """Pipelined behind what is being served, a search waits for its turn, and is refused by the parser's way."""
    server.refuse_once()
    server.protocol.data_received(request(first="GET /other HTTP/1.1"))
    server.protocol.data_received(request())
    assert len(server.replies) == 1
    server.may_answer.set()
    await until(lambda: len(server.replies) == 3)
    assert [reply.split()[1] for reply in server.replies] == [b"503", b"204", b"503"]
    assert not any(unparsed)


async def test_the_connection_lasts_from_its_last_refusal_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer that was set before it finds that something has come, and waits for the rest."""
    server.refuse_once()
    loop, protocol = asyncio.get_running_loop(), server.protocol
    begun = loop.time()
    at = begun
    monkeypatch.setattr(loop, "time", lambda: at)
    timer = protocol.timeout_keep_alive_task
    at = begun + KEEP_ALIVE - 1
    protocol.data_received(request())
    assert protocol.timeout_keep_alive_task is timer  # none is made for each

    at = begun + KEEP_ALIVE + 1
    protocol.timeout_keep_alive_handler()
    assert not server.wire.is_closing()
    later = protocol.timeout_keep_alive_task
    assert later is not None
    assert later is not timer
    assert later.when() == pytest.approx(begun + 2 * KEEP_ALIVE - 1, abs=0.5)

    at = later.when() + 0.001
    protocol.timeout_keep_alive_handler()
    assert server.wire.is_closing()
    later.cancel()
