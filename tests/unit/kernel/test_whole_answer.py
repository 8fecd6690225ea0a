"""What may go out in one piece, past uvicorn; everything else is uvicorn's to send."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message

from telemed.kernel.http.exchange import CARRIER, Exchange
from telemed.kernel.http.protocol import _Carrier
from telemed.kernel.replication.exchange import Consistency
from telemed.kernel.telemetry.context import begin_trace


class Server:
    """Notes how it is given answers."""

    def __init__(self) -> None:
        self.takes_whole = True
        self.whole: list[tuple[int, bytes, bytes]] = []
        self.sent: list[str] = []

    def deliver(self, status: int, head: bytes, body: bytes) -> None:
        """Take one in one piece."""
        self.whole.append((status, head, body))

    async def send(self, message: Message) -> None:
        """Take a part of one."""
        self.sent.append(message["type"])


IN_PARTS = ["http.response.start", "http.response.body"]


@pytest.fixture
def server() -> Server:
    """A connection on which nothing stands against one piece."""
    return Server()


@pytest.fixture
def exchange(server: Server) -> Exchange:
    """A request on that connection."""
    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": [], CARRIER: server}
    trace = begin_trace(traceparent=None, request_id="mine")
    return Exchange(
        scope, server.send, server.send, trace=trace, consistency=Consistency(), max_body_bytes=1  # type: ignore[arg-type]  # nothing is received
    )  # fmt: skip


async def test_a_plain_answer_goes_out_in_one_piece(server: Server, exchange: Exchange) -> None:
    """With the headers that every response carries, and the edge knows of it."""
    await exchange.answer(Response(b"{}", 201, media_type="application/json"))

    ((status, head, body),) = server.whole
    assert (status, body, server.sent) == (201, b"{}", [])
    assert b"content-type: application/json\r\n" in head
    assert b"x-request-id: mine\r\n" in head
    assert b"cache-control: no-store\r\n" in head
    assert (exchange.status, exchange.is_complete) == (201, True)


async def test_what_is_more_than_bytes_is_sent_by_its_own_way(server: Server, exchange: Exchange) -> None:
    """Other classes of responses may do anything when they are sent, and a background task must run after it."""
    done = []
    await exchange.answer(Response(b"{}", background=BackgroundTask(lambda: done.append(True))))
    await exchange.answer(PlainTextResponse("{}"))

    assert (server.whole, server.sent, done) == ([], IN_PARTS * 2, [True])


async def test_where_the_server_does_not_take_it_uvicorn_sends_it(server: Server, exchange: Exchange) -> None:
    """It knows how to end a connection, and how to wait for a client that does not read."""
    server.takes_whole = False
    await exchange.answer(Response(b"{}"))

    assert (server.whole, server.sent) == ([], IN_PARTS)


async def test_a_process_that_drains_has_uvicorn_end_the_connection(server: Server, exchange: Exchange) -> None:
    """After the answer that says so."""
    exchange.closes_connection = lambda: True
    await exchange.answer(Response(b"{}"))

    assert (server.whole, server.sent) == ([], IN_PARTS)


async def test_who_was_answered_at_the_deadline_is_not_answered_again(server: Server, exchange: Exchange) -> None:
    """What the application still says goes nowhere."""
    await exchange.take_over({"type": "http.response.start", "status": 504, "headers": []})
    await exchange.take_over({"type": "http.response.body", "body": b""})
    await exchange.answer(Response(b"{}"))

    assert (server.whole, server.sent) == ([], IN_PARTS)


@pytest.mark.parametrize("value", ["x\r\nset-cookie: y", "x\ny", "x\ry"])
async def test_no_header_breaks_its_line(server: Server, exchange: Exchange, value: str) -> None:
    """uvicorn refuses that; so does this way."""
    with pytest.raises(ValueError, match="breaks its line"):
        await exchange.answer(Response(b"{}", headers={"x-other": value}))

    assert (server.whole, server.sent, exchange.status) == ([], [], None)


@pytest.mark.parametrize("doubt", [None, "begun", "gone", "paused", "ends", "closing"])
def test_a_connection_takes_one_piece_if_nothing_stands_against_it(doubt: str | None) -> None:
    """Each of these alone is enough."""
    cycle: Any = SimpleNamespace(
        response_started=doubt == "begun",
        disconnected=doubt == "gone",
        keep_alive=doubt != "ends",
        transport=SimpleNamespace(is_closing=lambda: doubt == "closing"),
    )
    protocol: Any = SimpleNamespace(flow=SimpleNamespace(write_paused=doubt == "paused"))

    assert _Carrier(protocol, cycle, None).takes_whole is (doubt is None)


@pytest.mark.parametrize("stays", [True, False])
def test_one_piece_leaves_the_connection_as_uvicorn_does(stays: bool) -> None:
    """Written once, complete, whoever waits is woken, and the next request begins; or the connection ends."""
    happened: list[Any] = []
    transport = SimpleNamespace(write=happened.append, close=lambda: happened.append("closed"))
    cycle: Any = SimpleNamespace(
        default_headers=[(b"date", b"today")],
        transport=transport,
        message_event=SimpleNamespace(set=lambda: happened.append("woken")),
        keep_alive=stays,
        on_response=lambda: happened.append("next"),
    )
    _Carrier(SimpleNamespace(), cycle, None).deliver(200, b"a: b\r\n", b"{}")  # type: ignore[arg-type]  # not asked

    written = b"HTTP/1.1 200 OK\r\ndate: today\r\na: b\r\n\r\n{}"
    assert happened == [written, "woken", *([] if stays else ["closed"]), "next"]
    assert (cycle.response_started, cycle.response_complete) == (True, True)
